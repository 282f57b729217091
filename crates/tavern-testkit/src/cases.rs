//! The cases: plain functions, each named after the promise it holds a backend to.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::Stage;

pub mod close;
pub mod expiry;
pub mod feed;
pub mod fork;
pub mod history;
pub mod ids;
pub mod interest;
pub mod life;
pub mod live;
pub mod log;
pub mod loss;
pub mod order;
pub mod outcome;
pub mod resume;
pub mod rewind;
pub mod ring;
pub mod scope;
pub mod snapshot;
pub mod trim;

/// One case, as data.
#[derive(Clone, Copy)]
pub struct Case {
    /// The module and the function: `log::a_key_is_stored_once`.
    pub name: &'static str,
    run: fn(Stage) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Case {
    /// Plays it.
    pub async fn run(&self, stage: Stage) {
        (self.run)(stage).await;
    }
}

/// Calls the macro `$then` with all cases, behind the tokens in parentheses.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($then:path, $args:tt) => {
        $then! { $args
            log {
                seqs_are_dense_across_topics_and_nodes,
                a_batch_is_appended_in_order,
                a_publish_given_up_half_way_is_whole_or_nothing,
                batches_of_two_nodes_do_not_mix,
                one_bad_message_does_not_stop_its_batch,
                a_key_is_stored_once,
                a_key_twice_in_a_batch_is_stored_once,
                an_id_is_stored_once_in_its_lane,
                an_id_with_another_message_is_refused,
                hard_case_11_the_same_id_in_another_lane,
                what_was_published_comes_back,
                data_of_the_largest_size_and_one_over,
                data_comes_back_byte_for_byte,
                odd_topics_are_topics,
            }
            history {
                pages_together_are_the_log,
                a_range_has_exact_ends,
                filters_choose_topics,
                hard_case_08_floors_of_each_lane,
                hard_case_08_a_quiet_lane_has_no_false_floor,
                hard_case_08_age_counts_as_removed,
                hard_case_09_another_scopes_flood_trims_nothing_of_mine,
                floors_are_of_the_lanes_asked_for,
                hard_case_12_a_trimmed_entry_is_still_a_duplicate,
                a_ttl_counts_from_acceptance,
                an_id_is_found_in_its_lane,
                the_head_is_the_same_on_every_node,
                hard_case_10_two_nodes_with_different_rules,
                ten_thousand_topics_in_history,
            }
            feed {
                a_topics_subscription_begins_without_a_gap,
                interest_is_confirmed_ten_thousand_times,
                a_wildcard_hears_of_new_topics,
                every_seq_reaches_the_feed,
                interest_twice_is_interest,
                no_echo_on_live_topics,
            }
            fork {
                hard_case_06_a_rewound_log_opens_a_new_epoch,
                hard_case_06_what_a_node_knows_is_recorded,
                hard_case_06_what_a_node_knows_may_come_late,
                hard_case_06_two_tails_lost,
                a_restart_keeps_the_log,
            }
            life {
                closed_is_closed,
                close_during_calls,
                the_feed_is_taken_once,
                dropped_without_a_runtime,
            }
            order {
                subscribers_of_every_node_see_the_same_order,
                order_across_topics,
                a_callers_publishes_keep_their_order,
                overlapping_filters_deliver_once,
                ten_thousand_topics,
                odd_data_is_delivered,
                odd_topics_are_delivered,
                the_largest_message_is_delivered,
                what_travels_with_a_message_arrives,
            }
            loss {
                hard_case_01_pushes_lost_in_the_middle,
                hard_case_01_pushes_lost_at_the_tail,
                a_deaf_feed_is_noticed,
                duplicated_pushes_are_delivered_once,
                reordered_pushes_are_delivered_in_order,
                pushes_lost_repeated_and_shuffled,
                a_link_lost_and_back_loses_nothing,
                hard_case_17_no_clock_runs_while_the_link_is_down,
                hard_case_17_a_hole_that_cannot_be_read_becomes_a_gap,
                hard_case_17_a_read_that_fails_is_tried_again,
                hard_case_17_a_flood_above_a_hole,
                hard_case_26_an_undecodable_entry_is_a_gap_in_its_place,
                hard_case_16_a_pause_of_the_process_loses_nothing,
            }
            interest {
                ten_thousand_subscribe_publish_races,
                hard_case_02_the_opening_cursor_is_complete,
                hard_case_02_first_sight_of_a_topic_under_a_wildcard,
                hard_case_02_interest_lost_and_regained,
                interest_lingers_and_is_withdrawn,
                last_out_first_in,
                given_up_half_way_leaves_no_interest,
                interest_asked_for_during_an_outage,
            }
            scope {
                scope_is_a_wall_live,
                scope_is_a_wall_on_replay,
                hard_case_09_another_scopes_flood_is_no_gap_of_mine,
            }
            expiry {
                expired_is_not_delivered_live,
                what_is_not_expired_is_delivered,
                expired_is_not_replayed,
                a_ttl_runs_out_in_the_spool,
            }
            ids {
                a_publishers_id_rides_behind_the_cursor,
                hard_case_04_an_id_that_looks_like_a_cursor,
                hard_case_04_the_same_id_in_two_topics,
                an_unknown_id_is_a_gap,
                an_id_is_published_once,
            }
            outcome {
                hard_case_12_a_lost_answer_is_settled,
                hard_case_14_order_survives_failures,
                hard_case_14_a_new_publish_does_not_overtake_the_spool,
                hard_case_13_spooled_is_stored_in_the_end,
                hard_case_13_spooled_and_refused_is_told,
                hard_case_13_spooled_too_long_is_told,
                a_full_spool_refuses,
                local_life_goes_on,
                a_publish_given_up_is_stored_once_or_not,
                many_publishers_through_a_bad_link,
            }
            resume {
                resume_on_either_node_at_every_position,
                resume_with_several_topics_and_wildcards,
                drop_and_resume_while_publishing,
                resume_after_a_restart_of_all_processes,
                a_foreign_cursor_is_a_gap,
                malformed_ids_are_gaps,
                a_cursor_beyond_the_head_is_a_gap,
                hard_case_03_a_cursor_ahead_of_a_lagging_node,
                hard_case_25_a_gap_is_told_once,
                hard_case_05_the_opening_cursor_is_kept_by_every_browser,
                the_position_moves_without_messages,
                a_replay_over_the_maximum_is_truncated,
                a_fresh_subscriber_may_begin_with_the_oldest,
            }
            rewind {
                hard_case_06_cursors_around_the_fork,
                hard_case_06_cursors_before_anything_is_new,
                hard_case_06_connected_clients_are_told,
                hard_case_06_a_client_below_the_fork_is_told_of_the_loss,
                hard_case_06_the_whole_log_is_lost,
            }
            trim {
                trimmed_history_is_a_gap,
                hard_case_08_a_floor_is_of_its_lane,
                hard_case_08_a_cursor_behind_the_trimmed_has_no_gap,
                hard_case_08_age_is_a_gap_too,
                hard_case_10_clients_of_nodes_with_different_rules,
            }
            ring {
                a_slow_reader_goes_on_from_history,
                a_reader_slower_than_history_gets_a_gap,
                hard_case_18_many_resumes_cost_pages,
                hard_case_18_many_topics_changed_little,
                hard_case_19_the_ring_keeps_to_its_bytes,
            }
            live {
                live_messages_come_once_everywhere,
                live_messages_respect_scopes,
                a_resume_of_live_topics_says_so,
                live_and_retained_together,
            }
            close {
                close_ends_streams,
                close_during_everything,
                close_while_the_backend_is_away,
                dropped_without_a_runtime,
                streams_given_up_at_any_moment,
            }
            snapshot {
                a_fresh_subscriber_begins_with_a_snapshot,
                a_gap_is_bridged_by_a_snapshot,
            }
        }
    };
}

macro_rules! list {
    (() $($module:ident { $($case:ident,)* })*) => {
        /// All cases.
        #[must_use]
        pub fn all() -> Vec<Case> {
            vec![$($(Case {
                name: concat!(stringify!($module), "::", stringify!($case)),
                run: |stage| Box::pin($module::$case(stage)),
            },)*)*]
        }
    };
}

crate::__cases!(list, ());
