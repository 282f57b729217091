//! The cases: plain functions, each named after the promise it holds a backend to.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::Stage;

pub mod feed;
pub mod fork;
pub mod history;
pub mod interest;
pub mod life;
pub mod log;
pub mod loss;
pub mod order;

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
