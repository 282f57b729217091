//! Which fault each case must notice.

use tavern_testkit::Fault;
use tavern_testkit::Fault::*;

/// A case, and a fault on which it fails.
pub(super) const NOTICED: &[(&str, Fault)] = &[
    ("log::seqs_are_dense_across_topics_and_nodes", LosesStored),
    ("log::a_batch_is_appended_in_order", ReversesBatches),
    ("log::a_publish_given_up_half_way_is_whole_or_nothing", TearsBatches),
    ("log::batches_of_two_nodes_do_not_mix", TearsBatches),
    ("log::one_bad_message_does_not_stop_its_batch", ForgetsIds),
    ("log::a_key_is_stored_once", ForgetsKeys),
    ("log::a_key_twice_in_a_batch_is_stored_once", ForgetsKeys),
    ("log::an_id_is_stored_once_in_its_lane", ForgetsIds),
    ("log::an_id_with_another_message_is_refused", ForgetsIds),
    ("log::hard_case_11_the_same_id_in_another_lane", SharesIds),
    ("log::what_was_published_comes_back", IgnoresScope),
    ("log::what_was_published_comes_back", IgnoresTtl),
    ("log::what_was_published_comes_back", IgnoresEventNames),
    ("log::data_of_the_largest_size_and_one_over", TruncatesData),
    ("log::data_comes_back_byte_for_byte", TidiesData),
    ("log::odd_topics_are_topics", FoldsTopics),
    ("history::pages_together_are_the_log", DropsFromPages),
    ("history::pages_together_are_the_log", IgnoresLimits),
    ("history::a_range_has_exact_ends", DropsFromPages),
    ("history::filters_choose_topics", IgnoresFilters),
    ("history::hard_case_08_floors_of_each_lane", ForgetsFloors),
    ("history::hard_case_08_a_quiet_lane_has_no_false_floor", FloorsBelowTheOldest),
    ("history::hard_case_08_age_counts_as_removed", KeepsForever),
    ("history::hard_case_08_age_counts_as_removed", ForgetsFloors),
    ("history::hard_case_09_another_scopes_flood_trims_nothing_of_mine", IgnoresScope),
    ("history::floors_are_of_the_lanes_asked_for", IgnoresFilters),
    ("history::hard_case_12_a_trimmed_entry_is_still_a_duplicate", ForgetsKeys),
    ("history::a_ttl_counts_from_acceptance", RestartsTtl),
    ("history::an_id_is_found_in_its_lane", NeverFinds),
    ("history::the_head_is_the_same_on_every_node", StaleHead),
    ("history::the_head_is_the_same_on_every_node", OwnEpoch),
    ("history::hard_case_10_two_nodes_with_different_rules", PretendsLive),
    ("history::ten_thousand_topics_in_history", DropsFromPages),
    ("feed::interest_is_confirmed_ten_thousand_times", ConfirmsTooEarly),
    ("feed::a_wildcard_hears_of_new_topics", SkipsEntries),
    ("feed::every_seq_reaches_the_feed", SkipsEntries),
    ("feed::interest_twice_is_interest", LosesInterest),
    ("feed::no_echo_on_live_topics", EchoesLive),
    ("feed::no_echo_on_live_topics", RepeatsLive),
    ("fork::hard_case_06_a_rewound_log_opens_a_new_epoch", ReusesEpoch),
    ("fork::hard_case_06_what_a_node_knows_is_recorded", ForgetsKnown),
    ("fork::hard_case_06_what_a_node_knows_may_come_late", ForgetsKnown),
    ("fork::hard_case_06_two_tails_lost", ReusesEpoch),
    ("fork::a_restart_keeps_the_log", OwnEpoch),
    ("life::closed_is_closed", SurvivesClose),
    ("life::close_during_calls", HangsOnClose),
    ("life::the_feed_is_taken_once", FeedsTwice),
    ("life::dropped_without_a_runtime", PanicsOnDrop),
];

/// Cases that no backend can break, and what holds them instead.
pub(super) const BEYOND_THE_BACKEND: &[(&str, &str)] = &[];
