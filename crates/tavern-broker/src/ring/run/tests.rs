use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tavern_backend::{Epoch, LogTime, MessageEnvelope, Position, Topic, TopicFilter};

use crate::delivery::{Delivery, GapReason};
use crate::frame::Frame;
use crate::marker::Marker;
use crate::ring::{Arrival, Following, Got, Limit, Read, Ring};

const EPOCH: Epoch = Epoch::from_u64(1);

fn ring(budget: usize) -> Arc<Ring> {
    let ring = Arc::new(Ring::new(budget));
    ring.begin(Position::new(EPOCH, 0));
    ring
}

fn entry(topic: &str, seq: u64) -> Arrival {
    let envelope = MessageEnvelope::new(Topic::new(topic).unwrap(), seq.to_string());
    Arrival::Entry(Arc::new(Frame::for_test(envelope, Some(Position::new(EPOCH, seq)))))
}

fn entry_that_expires(topic: &str, seq: u64) -> Arrival {
    let Arrival::Entry(frame) = entry(topic, seq) else { unreachable!() };
    let expires = Some(LogTime::default().after(Duration::MAX));
    let frame = Frame { expires, ..Arc::into_inner(frame).unwrap() };
    Arrival::Entry(Arc::new(frame))
}

fn live(topic: &str, name: String) -> Arrival {
    Arrival::Live(Arc::new(Frame::live(
        MessageEnvelope::new(Topic::new(topic).unwrap(), name),
        None,
    )))
}

/// A reader that takes what is shared where it can, as a subscription does.
struct Reader {
    following: Following,
    at: u64,
    here: Position,
    got: Vec<String>,
    shared: usize,
    fallen: bool,
}

impl Reader {
    fn new(ring: &Arc<Ring>, filters: &[&str]) -> Self {
        let filters: Vec<_> = filters.iter().map(|f| TopicFilter::new(f).unwrap()).collect();
        let following = ring.follow(&filters, None);
        let at = following.since;
        let here = Position::new(EPOCH, 0);
        Self { following, at, here, got: Vec::new(), shared: 0, fallen: false }
    }

    /// Takes up to `max`; says whether there may be more.
    fn step(&mut self, ring: &Ring, max: usize) -> bool {
        let follow = &self.following.follow;
        if ring.reaches_above(self.at)
            && let Some((part, at)) = ring.share(follow, self.at, self.here, Limit::items(max))
        {
            assert!(!part.deliveries().is_empty() && part.deliveries().len() <= max);
            for delivery in part.deliveries() {
                let Delivery::Message(message) = delivery else { panic!("{delivery:?}") };
                self.here = message.cursor().unwrap().0;
                self.got.push(message.data().as_str().to_owned());
            }
            self.shared += part.deliveries().len();
            self.at = at;
            return true;
        }
        let (mut got, mut lost_live) = (Vec::new(), false);
        let read =
            ring.read(follow, self.at, self.here.seq, Limit::items(max), &mut got, &mut lost_live);
        if lost_live {
            self.fallen = true;
            return false;
        }
        for got in got {
            match got {
                Got::Entry(frame) => {
                    self.here = frame.position.unwrap();
                    self.got.push(frame.envelope.data.as_str().to_owned());
                }
                Got::Live(_, frame) => self.got.push(frame.envelope.data.as_str().to_owned()),
                Got::Marker(..) => self.got.push("marker".to_owned()),
            }
        }
        match read {
            Read::More { at } => self.at = at,
            Read::Drained { at, .. } => {
                self.at = at;
                return false;
            }
            Read::Fallen { .. } => self.fallen = true,
        }
        !self.fallen
    }
}

#[test]
fn readers_that_keep_up_share_one_run() {
    let ring = ring(1 << 20);
    let one = Reader::new(&ring, &["a"]);
    let two = Reader::new(&ring, &["a"]);
    ring.append((1..=3).map(|seq| entry("a", seq)));
    let (first, _) =
        ring.share(&one.following.follow, one.at, one.here, Limit::items(100)).unwrap();
    let (second, _) = ring.share(&two.following.follow, two.at, two.here, Limit::items(2)).unwrap();
    assert!(Arc::ptr_eq(&first.run, &second.run), "each made its own");
    assert_eq!((first.deliveries().len(), second.deliveries().len()), (3, 2));
    ring.append([entry("a", 4)]);
    let (after, _) =
        ring.share(&one.following.follow, 3, Position::new(EPOCH, 3), Limit::items(100)).unwrap();
    assert_eq!(after.deliveries().len(), 1, "a run begins anew with every append");
    // Who came with a cursor that this node had not reached has the entry already.
    assert!(
        ring.share(&one.following.follow, 3, Position::new(EPOCH, 4), Limit::items(100)).is_none()
    );
    drop(two);
    assert!(
        ring.share(&one.following.follow, one.at, one.here, Limit::items(100)).is_none(),
        "with whom?"
    );
}

#[test]
fn a_run_is_charged_and_goes_with_its_messages() {
    let ring = ring(20_000);
    let (mut one, _two) = (Reader::new(&ring, &["a"]), Reader::new(&ring, &["a"]));
    ring.append((1..=10).map(|seq| entry("a", seq)));
    let before = ring.sizes().bytes;
    assert!(one.step(&ring, 100) && one.shared == 10);
    assert!(ring.sizes().bytes >= before + 10 * size_of::<Delivery>());
    for seq in 11..1_000 {
        ring.append([entry("loud", seq)]);
        assert!(ring.sizes().bytes <= 20_000);
    }
    let state = ring.read_state();
    assert_eq!(state.weight(), state.bytes, "nothing of it is left");
}

#[test]
fn what_a_part_keeps_of_a_run_stays_in_the_account() {
    let ring = ring(60_000);
    let (one, _two) = (Reader::new(&ring, &["a"]), Reader::new(&ring, &["a"]));
    ring.append((1..=50).map(|seq| entry("a", seq)));
    let frames = ring.sizes().bytes;
    let (part, _) = ring.share(&one.following.follow, one.at, one.here, Limit::items(1)).unwrap();
    for seq in 51..1_000 {
        ring.append([entry("loud", seq)]);
        assert!(ring.sizes().bytes <= 60_000);
    }
    let outside = |ring: &Ring| ring.read_state().weight() - ring.read_state().bytes;
    assert!(outside(&ring) > frames / 2, "{} of {frames} bytes", outside(&ring));
    drop(part);
    assert_eq!(outside(&ring), 0, "nothing of it is left");
    // However much is held on to, half of the ring stays.
    let held: Vec<_> = (1_000..1_400)
        .filter_map(|seq| {
            ring.append([entry("a", seq)]);
            let here = Position::new(EPOCH, seq - 1);
            let at = ring.enter(&one.following.follow, here)?;
            ring.share(&one.following.follow, at, here, Limit::items(1))
        })
        .collect();
    assert!(held.len() > 100 && ring.sizes().frames > 50, "{:?}", ring.sizes());
}

#[test]
fn a_run_has_no_more_bytes_than_a_part_may_keep() {
    let ring = ring(1 << 20);
    let (one, _two) = (Reader::new(&ring, &["a"]), Reader::new(&ring, &["a"]));
    let large = |seq| {
        let envelope = MessageEnvelope::new(Topic::new("a").unwrap(), "x".repeat(20_000));
        let position = Some(Position::new(EPOCH, seq));
        Arrival::Entry(Arc::new(Frame::for_test(envelope, position)))
    };
    ring.append((1..=10).map(large));
    let follow = &one.following.follow;
    assert!(ring.share(follow, one.at, one.here, Limit::items(1)).is_none(), "200 KB");
    // That someone came from far keeps nobody else from sharing, nor itself once it is nearer.
    let near = ring.enter(follow, Position::new(EPOCH, 7)).unwrap();
    let limit = Limit { items: 10, bytes: 50_000 };
    let (part, at) = ring.share(follow, near, Position::new(EPOCH, 7), limit).unwrap();
    assert_eq!((part.deliveries().len(), at), (2, near + 2));
    assert!(ring.share(follow, one.at, one.here, Limit::items(1)).is_none());
}

#[test]
fn what_lies_before_a_group_is_read_before_anything_is_shared() {
    let ring = ring(1 << 20);
    ring.append((1..=5).map(|seq| entry("a", seq)));
    let (mut one, two) = (Reader::new(&ring, &["**"]), Reader::new(&ring, &["**"]));
    ring.append([entry("b", 6)]);
    let here = Position::new(EPOCH, 2);
    one.at = ring.enter(&one.following.follow, here).unwrap();
    assert!(ring.share(&one.following.follow, one.at, here, Limit::items(100)).is_none());
    while one.step(&ring, 100) {}
    assert_eq!(one.got, ["3", "4", "5", "6"]);
    assert!(ring.share(&two.following.follow, two.at, two.here, Limit::items(100)).is_some());
}

/// What happens to the ring, for the property below.
#[derive(Debug, Clone)]
enum Op {
    Append(Vec<(usize, bool)>),
    Live(usize),
    Marker,
    Step(usize, usize),
}

const TOPICS: [&str; 3] = ["a", "b/c", "b/d"];

fn op() -> impl Strategy<Value = Op> {
    let arrivals = prop::collection::vec((0..TOPICS.len(), prop::bool::weighted(0.05)), 1..6);
    prop_oneof![
        8 => arrivals.prop_map(Op::Append),
        1 => (0..TOPICS.len()).prop_map(Op::Live),
        1 => Just(Op::Marker),
        20 => (0_usize..7, 1_usize..8).prop_map(|(who, max)| Op::Step(who, max)),
    ]
}

proptest! {
    /// Readers of the same topics at their own paces, against plain lists: each gets everything
    /// it follows, in order and once, whatever of it is shared. (Falling is always allowed.)
    #[test]
    fn sharing_changes_nothing(ops in prop::collection::vec(op(), 1..150), small in any::<bool>()) {
        let ring = ring(if small { 12_000 } else { 1 << 20 });
        let sets: [&[&str]; 7] =
            [&["a"], &["a"], &["a"], &["b/*"], &["b/*"], &["a", "b/c"], &["a", "b/c"]];
        let mut readers: Vec<_> = sets.iter().map(|set| Reader::new(&ring, set)).collect();
        let mut wanted = vec![Vec::new(); sets.len()];
        let mut tell = |topic: Option<&str>, name: &str| {
            for (set, wanted) in sets.iter().zip(&mut wanted) {
                let wants = |topic: &str| set.iter().any(|f| TopicFilter::new(f).unwrap().matches(&Topic::new(topic).unwrap()));
                if topic.is_none_or(wants) {
                    wanted.push(name.to_owned());
                }
            }
        };
        let mut head = 0;
        for op in ops {
            match op {
                Op::Append(topics) => {
                    let mut batch = Vec::new();
                    for (topic, expires) in topics {
                        head += 1;
                        let topic = TOPICS[topic];
                        tell(Some(topic), &head.to_string());
                        batch.push(if expires { entry_that_expires(topic, head) } else { entry(topic, head) });
                    }
                    ring.append(batch);
                }
                Op::Live(topic) => {
                    let name = format!("live after {head}");
                    tell(Some(TOPICS[topic]), &name);
                    ring.append([live(TOPICS[topic], name)]);
                }
                Op::Marker => {
                    tell(None, "marker");
                    ring.append([Arrival::Marker(Marker::Gap { reason: GapReason::Outage, lanes: None })]);
                }
                Op::Step(who, max) => {
                    if !readers[who].fallen {
                        readers[who].step(&ring, max);
                    }
                }
            }
        }
        for (reader, wanted) in readers.iter_mut().zip(wanted) {
            while !reader.fallen && reader.step(&ring, 3) {}
            if reader.fallen {
                prop_assert!(small && wanted.starts_with(&reader.got));
            } else {
                prop_assert_eq!(&reader.got, &wanted);
            }
        }
    }
}
