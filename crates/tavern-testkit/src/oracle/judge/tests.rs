use std::time::Duration;

use tavern_backend::{Topic, TopicFilter};
use tokio::time::Instant;

use crate::oracle::{Answer, Ledger, Record, Verdict};
use crate::recorder::Event;

const SLACK: Duration = Duration::from_secs(1);

/// What was published to `a` and `b` in turn, stored at 11, 12, 13, …
fn published(count: u64) -> Ledger {
    let mut ledger = Ledger::new();
    for n in 0..count {
        let topic = Topic::new(["a", "b"][usize::try_from(n % 2).unwrap()]).unwrap();
        let number = ledger.publish(&topic, None, None);
        ledger.answered(number, Answer::Stored(11 + n), Instant::now());
    }
    ledger
}

fn client(filter: &str) -> Record {
    let mut record = Record::new(vec![TopicFilter::new(filter).unwrap()], None);
    record.take(&event("tavern-cursor", "", Some(10)), Instant::now()).unwrap();
    record
}

fn event(name: &str, data: &str, seq: Option<u64>) -> Event {
    let id = seq.map(|seq| format!("10000000000007-{seq}"));
    Event { name: name.to_owned(), data: data.to_owned(), id }
}

fn gets(record: &mut Record, ledger: &Ledger, number: u64) -> Result<(), String> {
    let message = event("message", &ledger.data(number), Some(11 + number));
    record.take(&message, Instant::now())
}

fn gap(record: &mut Record, reason: &str, topic: &str) {
    let data = format!(r#"{{"lastEventId":"","reason":"{reason}","topics":["{topic}"]}}"#);
    record.take(&event("tavern-replay-gap", &data, None), Instant::now()).unwrap();
}

#[track_caller]
fn check(verdict: &Verdict, [received, told, lost, over]: [u64; 4]) {
    let overs = verdict.gaps.values().map(|[_, over]| over).sum::<u64>();
    let is = [verdict.received, verdict.told, verdict.lost, overs];
    assert_eq!(is, [received, told, lost, over], "{verdict:#?}");
    assert_eq!(verdict.wrong.is_empty(), lost == 0, "{verdict:#?}");
}

#[test]
fn what_is_complete_is_accepted() {
    let ledger = published(6);
    let mut all = client("**");
    for number in 0..6 {
        gets(&mut all, &ledger, number).unwrap();
    }
    check(&ledger.judge(&all, SLACK), [6, 0, 0, 0]);
    let mut half = client("b");
    for number in [1, 3, 5] {
        gets(&mut half, &ledger, number).unwrap();
    }
    check(&ledger.judge(&half, SLACK), [3, 0, 0, 0]);
}

#[test]
fn what_is_missing_is_lost_unless_a_gap_in_its_place_says_so() {
    let ledger = published(6);
    let told = |gap_before: u64, topic: &str| {
        let mut record = client("**");
        // 2 and 3 are missing.
        for number in [0, 1, 4, 5] {
            if number == gap_before {
                gap(&mut record, "trimmed", topic);
            }
            gets(&mut record, &ledger, number).unwrap();
        }
        ledger.judge(&record, SLACK)
    };
    check(&told(9, "**"), [4, 0, 2, 0]);
    check(&told(4, "**"), [4, 2, 0, 0]);
    // Of one topic only.
    check(&told(4, "a"), [4, 1, 1, 0]);
    // Too late, and of something else.
    check(&told(5, "**"), [4, 0, 2, 1]);
    check(&told(4, "c"), [4, 0, 2, 1]);
    // At the beginning of the page in which it is: before 1, but not before the next of its topic.
    check(&told(1, "a"), [4, 1, 1, 0]);
    check(&told(0, "**"), [4, 0, 2, 1]);
}

#[test]
fn what_comes_again_out_of_order_or_to_others_is_refused_at_once() {
    let mut ledger = published(4);
    let mut record = client("a");
    gets(&mut record, &ledger, 2).unwrap();
    assert!(gets(&mut record, &ledger, 2).unwrap_err().contains("again or out of order"));
    assert!(gets(&mut record, &ledger, 0).unwrap_err().contains("again or out of order"));
    assert!(gets(&mut record, &ledger, 3).unwrap_err().contains("not for this client"));
    let scoped = ledger.publish(&Topic::new("a").unwrap(), Some("red"), None);
    assert!(gets(&mut record, &ledger, scoped).unwrap_err().contains("not for this client"));
    let nonsense = event("message", "nonsense", Some(20));
    assert!(record.take(&nonsense, Instant::now()).unwrap_err().contains("nobody published"));
}

#[test]
fn what_was_seen_by_one_client_was_for_all() {
    let mut ledger = published(2);
    let perhaps = ledger.publish(&Topic::new("a").unwrap(), None, None);
    let next = ledger.publish(&Topic::new("a").unwrap(), None, None);
    ledger.answered(next, Answer::Stored(11 + next), Instant::now());
    let (mut one, mut other) = (client("**"), client("**"));
    for number in [0, 1, next] {
        gets(&mut other, &ledger, number).unwrap();
    }
    // It may be there, and as far as anyone knows it is not.
    check(&ledger.judge(&other, SLACK), [3, 0, 0, 0]);
    for number in [0, 1, perhaps, next] {
        gets(&mut one, &ledger, number).unwrap();
    }
    ledger.learn(&one);
    ledger.learn(&other);
    check(&ledger.judge(&one, SLACK), [4, 0, 0, 0]);
    check(&ledger.judge(&other, SLACK), [3, 0, 1, 0]);
}

#[test]
fn a_publication_is_in_the_log_once_and_a_refused_one_is_not() {
    let mut ledger = published(2);
    ledger.answered(0, Answer::Stored(17), Instant::now());
    assert!(ledger.wrong()[0].contains("publication 0 is in the log twice: at 11 and 17"));
    let refused = ledger.publish(&Topic::new("a").unwrap(), None, None);
    ledger.answered(refused, Answer::Refused, Instant::now());
    assert_eq!(ledger.counts(), [2, 0, 1]);
    let mut record = client("a");
    gets(&mut record, &ledger, refused).unwrap();
    ledger.learn(&record);
    assert!(ledger.wrong()[1].contains("was refused"), "{:?}", ledger.wrong());
}

#[test]
fn a_gap_for_what_a_spool_gave_up_is_none_too_many() {
    let mut ledger = published(2);
    let record = |ledger: &Ledger| {
        let mut record = client("a");
        gets(&mut record, ledger, 0).unwrap();
        gap(&mut record, "outage", "a");
        record
    };
    check(&ledger.judge(&record(&ledger), SLACK), [1, 0, 0, 1]);
    let given_up = ledger.publish(&Topic::new("a").unwrap(), None, None);
    ledger.answered(given_up, Answer::Perhaps, Instant::now());
    check(&ledger.judge(&record(&ledger), SLACK), [1, 0, 0, 0]);
}

#[test]
fn what_has_expired_may_be_missing_and_must_not_come_late() {
    let mut ledger = Ledger::new();
    let topic = Topic::new("a").unwrap();
    let now = Instant::now();
    for n in 0..2 {
        let number = ledger.publish(&topic, None, Some(Duration::from_millis(100)));
        ledger.answered(number, Answer::Stored(11 + n), now);
    }
    let after = |wait: Duration| {
        let mut record = client("a");
        let message = event("message", &ledger.data(1), Some(12));
        record.take(&message, now + wait).unwrap();
        ledger.judge(&record, SLACK)
    };
    let verdict = after(Duration::from_secs(1));
    check(&verdict, [1, 0, 0, 0]);
    assert_eq!(verdict.expired, 1);
    let late = after(Duration::from_secs(2)).wrong;
    assert!(late[0].contains("after it had expired"), "{late:?}");
}
