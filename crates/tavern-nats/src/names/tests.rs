use tavern_backend::{Lane, NodeId};

use super::*;

fn lane(topic: &str, scope: Option<&str>) -> Lane {
    Lane { topic: Topic::new(topic).unwrap(), scope: scope.map(|s| Scope::new(s).unwrap()) }
}

#[test]
fn every_legal_lane_comes_back() {
    for (topic, scope) in [
        ("t", None),
        ("orders/7", None),
        ("a b/c.d/>/x*y", None),
        ("ünïcödé/日本", Some("scope.with>all *")),
        ("=41/%20", Some("_")),
        ("$reserved/x", Some("=5F")),
        ("_", Some("-")),
    ] {
        let lane = lane(topic, scope);
        let name = lane_name(&lane.topic, lane.scope.as_ref());
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-=._".contains(&b)), "{name}");
        assert_eq!(parse_lane(&name), Some(lane), "{name}");
    }
}

#[test]
fn a_scope_is_never_taken_for_none() {
    let none = lane_name(&Topic::new("t").unwrap(), None);
    let underscore = lane_name(&Topic::new("t").unwrap(), Some(&Scope::new("_").unwrap()));
    assert_eq!(none, "_.t");
    assert_eq!(underscore, "=5F.t");
}

#[test]
fn what_is_no_name_of_ours_is_no_lane() {
    for name in ["", "_", "t", "_.", "_.=4", "_.=GG", "_.=FF", "_..t", "_.a=00"] {
        assert_eq!(parse_lane(name), None, "{name}");
    }
}

#[test]
fn namespaces_share_no_name() {
    let names = ["a", "a_META", "a.b", "a=2Eb", "A"].map(Names::new);
    let mut all = names.iter().flat_map(|n| [n.log_stream(), n.meta_stream()]).collect::<Vec<_>>();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 10);
}

#[test]
fn the_log_of_a_subject() {
    let names = Names::new("a.b");
    let subject = format!("{}>", names.log("7f"));
    assert_eq!(subject, "tavern.a=2Eb.log.7f.>");
    assert_eq!(names.log_of(&subject), Some("7f"));
    for other in ["tavern.a=2Eb.log.>", "tavern.a=2Eb.log.7f", "tavern.a.log.7f.>", "x.>"] {
        assert_eq!(names.log_of(other), None, "{other}");
    }
}

#[test]
fn ids_of_lanes_and_keys_are_apart() {
    let key = Origin { node: NodeId::from_u64(7), counter: 3 };
    let id = MessageId::new("a:b c").unwrap();
    assert_eq!(message_id("_.t", None, key), "0000000000007.3");
    assert_eq!(message_id("_.t", Some(&id), key), "i._.t:a=3Ab=20c");
}
