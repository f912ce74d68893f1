"""What people and programs are told of a campaign: report, status, manifest, pictures."""
