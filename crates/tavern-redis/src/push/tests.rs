use bytes::Bytes;
use tavern_backend::{Epoch, Lane, LogTime, NodeId, Scope, Topic};

use super::{Push, parse};

const EPOCH: u64 = 0x0123_4567_89ab_cdef;

/// As the append script packs it: `struct.pack` with `>`, and a name of thirteen characters.
fn packed(kind: char, id: &str, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("{kind}{id}").into_bytes();
    rest.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

fn epoch() -> (Epoch, String) {
    let epoch = Epoch::from_u64(EPOCH);
    (epoch, epoch.to_string())
}

fn payloads() -> Vec<u8> {
    packed(
        'E',
        &epoch().1,
        &[
            b"\0\0\x01\x9a\0\0\0\x07",
            b"\0\0\0\0\0\0\0\x05",
            b"\0\0\0\x03one",
            b"\0\0\0\0\0\0\0\x09",
            b"\0\0\0\0",
        ],
    )
}

fn spine() -> Vec<u8> {
    packed(
        'S',
        &epoch().1,
        &[
            b"\0\0\x01\x9a\0\0\0\x07",
            b"\0\0\0\0\0\0\0\x05",
            b"\0\0\0\x04",
            b"\0\x03",
            b"\0\x01t",
            b"\0\x03t\ns",
            b"\0\x02//",
            b"\0\0\0\x01\0\0\0\x02",
        ],
    )
}

fn live() -> Vec<u8> {
    packed('L', &NodeId::from_u64(9).to_string(), &[b"\0\0\0\0\0\0\x01\0", b"record"])
}

#[test]
fn payloads_are_what_the_script_packs() {
    let Some(Push::Payloads { epoch: of, time, records }) = parse(payloads().into()) else {
        panic!("payloads");
    };
    assert_eq!(of, epoch().0);
    assert_eq!(time, LogTime::from_millis(0x19a_0000_0007));
    assert_eq!(records, [(5, Bytes::from_static(b"one")), (9, Bytes::new())]);
}

#[test]
fn live_messages_are_what_the_script_packs() {
    let Some(Push::Live { origin, record }) = parse(live().into()) else { panic!("a live one") };
    assert_eq!((origin.node, origin.counter), (NodeId::from_u64(9), 256));
    assert_eq!(record, "record");
}

#[test]
fn the_spine_is_what_the_script_packs() {
    let Some(Push::Spine(spine)) = parse(spine().into()) else { panic!("a spine") };
    assert_eq!((spine.epoch, spine.first, spine.last()), (epoch().0, 5, 8));
    let topic = Topic::new("t").unwrap();
    let lanes: Vec<_> = spine.lanes.iter().map(|(_, lane)| lane.clone()).collect();
    let scope = Some(Scope::new("s").unwrap());
    assert_eq!(
        lanes,
        [
            Some(Lane { topic: topic.clone(), scope: None }),
            Some(Lane { topic, scope }),
            // A name that this version cannot read keeps its place.
            None
        ]
    );
    assert_eq!(spine.seqs().collect::<Vec<_>>(), [(5, 0), (6, 1), (7, 0), (8, 2)]);
}

/// Whatever somebody publishes on our channels: no panic, and nothing that is half there.
#[test]
fn what_is_cut_or_longer_is_refused() {
    for whole in [payloads(), spine()] {
        for length in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..length]);
            match parse(cut) {
                None => {}
                // Between two records it is a shorter one.
                Some(Push::Payloads { records, .. }) => assert!(records.len() < 2),
                Some(other) => panic!("{other:?} of {length} bytes"),
            }
        }
        let mut longer = whole;
        longer.push(0);
        assert!(parse(longer.into()).is_none());
    }
    for length in 0..22 {
        assert!(parse(Bytes::copy_from_slice(&live()[..length])).is_none());
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let with = |at: usize, byte: u8| {
        let mut bytes = spine();
        bytes[at] = byte;
        parse(bytes.into())
    };
    let last = spine().len() - 1;
    assert!(with(last, 2).is_some(), "the last lane");
    assert!(with(last, 3).is_none(), "a lane that is not listed");
    assert!(with(29, 0).is_none(), "seqs begin at one");
    assert!(with(33, 3).is_none(), "fewer seqs than are numbered");
    assert!(with(33, 5).is_none(), "more seqs than are numbered");
    assert!(with(0, b'X').is_none(), "a kind of a later version");
    assert!(with(1, b'U').is_none(), "an epoch that is none");
    assert!(with(14, 0xff).is_none(), "a time beyond all clocks");
    let empty = packed('S', &epoch().1, &[&[0; 8], &[0, 0, 0, 0, 0, 0, 0, 1], &[0; 4], &[0; 2]]);
    assert!(parse(empty.into()).is_none(), "a spine of nothing");
    // It must not make room for what is only announced.
    let huge = packed('S', &epoch().1, &[&[0; 8], &[0, 0, 0, 0, 0, 0, 0, 1], &[0xff; 4], &[0; 2]]);
    assert!(parse(huge.into()).is_none());
    let far = packed(
        'S',
        &epoch().1,
        &[&[0; 8], &[0xff; 8], b"\0\0\0\x02", b"\0\x01", b"\0\x01t", &[0; 4]],
    );
    assert!(parse(far.into()).is_none(), "seqs that run over");
}

#[test]
fn random_bytes_never_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    for kind in [payloads(), spine(), live()] {
        for _ in 0..20_000 {
            let mut bytes = kind.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            if let Some(Push::Spine(spine)) = parse(bytes.into()) {
                assert!(spine.last() >= spine.first);
                assert!(spine.numbers.iter().all(|n| usize::from(*n) < spine.lanes.len()));
                assert_eq!(spine.seqs().count(), spine.numbers.len());
            }
        }
    }
}
