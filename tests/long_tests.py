"""Tests that take long, each of which has a shorter one of its kind: `make system` runs them, side by side."""

LONG = (  # before each group: what stays in `make test`
    # each of the two made files from one of the two servers; the real ones with another payload, in the same file
    "test_remote_data.py::test_events_from_far_away_are_merged_far_away[uproot-HZZ.root-s3]",
    "test_remote_data.py::test_events_from_far_away_are_merged_far_away[uproot-Zmumu.root-http]",
    "test_remote_data.py::test_events_from_far_away_are_merged_far_away[uproot-HZZ.root-http]",
    "test_remote_data.py::test_events_from_far_away_are_merged_far_away[uproot-Zmumu.root-s3]",
    "test_remote_data.py::test_events_from_far_away_are_merged_far_away[made.root-s3]",
    "test_remote_data.py::test_events_from_far_away_are_merged_far_away[made-rntuple.root-http]",
    "test_remote_data.py::test_collisions_from_far_away_become_root_files_and_histograms[uproot-HZZ.root-copy-root-http]",
    "test_remote_data.py::test_collisions_from_far_away_become_root_files_and_histograms[uproot-Zmumu.root-mass-hist-s3]",
    # ranges of 7 of a made ROOT file, of 1 and of 5000 of a Parquet file, of 100 of HZZ, of 5000 of Zmumu
    "test_every_event_once.py::test_merged_rows_are_what_the_file_holds[write_root-1]",
    "test_every_event_once.py::test_merged_rows_are_what_the_file_holds[write_root-100]",
    "test_every_event_once.py::test_merged_rows_are_what_the_file_holds[write_root-5000]",
    "test_every_event_once.py::test_merged_rows_are_what_the_file_holds[write_parquet-7]",
    "test_every_event_once.py::test_merged_rows_are_what_the_file_holds[write_parquet-100]",
    "test_every_event_once.py::test_merged_rows_are_what_a_real_file_holds[uproot-HZZ.root-7]",
    "test_every_event_once.py::test_merged_rows_are_what_a_real_file_holds[uproot-Zmumu.root-7]",
    "test_every_event_once.py::test_merged_rows_are_what_a_real_file_holds[uproot-Zmumu.root-100]",
    "test_every_event_once.py::test_merged_rows_are_what_a_real_file_holds[uproot-HZZ.root-5000]",
    # the same file to Parquet, and HZZ to both kinds of ROOT file
    "test_output_formats.py::test_all_947_branches_of_a_nanoaod_file[ttree]",
    "test_output_formats.py::test_all_947_branches_of_a_nanoaod_file[rntuple]",
    # exactly the poisonous events, while workers are killed, too
    "test_bad_events.py::test_six_bad_events_of_ten_thousand",
    "test_bad_events.py::test_exactly_the_poisonous_events_are_abandoned[0]",
    # the rule itself in engine/test_range_sizes.py and contract/test_ledger_stragglers.py
    "test_late_workers.py::test_a_first_loss_shortens_what_is_cut_already",
    # the first two notebooks
    "test_notebooks.py::test_a_notebook_runs[03_lose_half_the_workers.ipynb]",
    "test_notebooks.py::test_a_notebook_runs[04_explore_a_campaign.ipynb]",
    # what pilots are told and get, over HTTP without processes, in engine/test_service_broker.py
    "test_pilots.py::test_a_pilot_that_does_not_fit_says_why_and_leaves_the_work_to_others",
    # notices themselves in engine/test_preemption_notices.py, and a pilot that goes on in the same file
    "test_pilots_stay.py::test_a_notice_that_the_machine_goes_empties_the_pilot",
    # seed 7
    "test_drills.py::test_every_event_survives_what_a_seed_decides[11]",
    "test_drills.py::test_every_event_survives_what_a_seed_decides[13]",
    # files of a number of bytes, and those of real inputs
    "test_same_bytes.py::test_files_of_a_number_of_events_are_the_same_to_the_byte",
    # workers that are frozen while they idle
    "test_cluster_members.py::test_processes_that_are_frozen_while_workers_start_are_ended",
    # a merge that loses its workers otherwise, in the same file
    "test_background_merges.py::test_a_merge_that_ends_its_workers_ends_the_run",
    "test_background_merges.py::test_outages_of_the_store_are_waited_for_and_not_counted",
    # the other notebook, and `make demo` in the README's words
    "test_notebooks.py::test_a_notebook_runs[01_first_campaign.ipynb]",
    # ten such histories, and a hundred in memory
    "test_ledger_laws.py::TestMoreHistoriesOnBoth::runTest",
    # that a start writes what is shipped
    "test_empty_database.py::test_the_database_that_is_shipped_is_what_prefect_makes_itself",
    # files of a number of bytes with auto ranges
    "test_same_bytes.py::test_files_of_real_inputs_are_the_same_to_the_byte",
    "test_same_bytes.py::test_files_of_a_number_of_bytes_hold_the_same"
    "[{'workers': 3, 'range_events': 7, 'kills': 3}]",
    # the same as a TTree
    "test_output_formats.py::test_jagged_collisions_of_the_community_to_root[rntuple]",
    "test_output_formats.py::test_root_files_hold_what_uproot_reads_in_one_go[rntuple]",
    # those that come at the end
    "test_inputs.py::test_inputs_that_come_later_are_added[in the middle]",
    # readers that crash and lie
    "test_readers.py::test_a_reader_that_fails_costs_the_events_that_it_fails_for[hangs]",
    # compressed files
    "test_merged_parquet_laws.py::test_memory_does_not_depend_on_how_much_is_merged[None-False]",
    # inputs of which several are inspected at once
    "test_input_inspection.py::test_inputs_that_end_whoever_looks_into_them_are_named[one by one]",
    # readers that crash, hang and lie
    "test_readers.py::test_a_reader_that_fails_costs_the_events_that_it_fails_for[raises]",
    "test_readers.py::test_a_reader_that_fails_costs_the_events_that_it_fails_for[exits]",
    "test_readers.py::test_a_reader_that_fails_costs_the_events_that_it_fails_for[takes memory]",
    "test_readers.py::test_a_reader_that_opens_nothing_stops_the_campaign[hangs]",
    # nothing as large: it makes a thousand objects
    "test_store_s3.py::test_more_keys_than_fit_into_one_answer",
    # without a proxy that loses answers
    "test_curl_pilot.py::test_lost_answers_change_nothing",
)
