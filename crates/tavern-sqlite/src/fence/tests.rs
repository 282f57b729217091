use std::fs::File;
use std::os::unix::fs::FileExt;

use tavern_backend::{Epoch, Position};

use super::{Fence, V1, WORDS};
use crate::number::fnv;
use crate::place::FileId;

fn fence(birth: Option<u64>) -> Fence {
    Fence {
        position: Position::new(Epoch::from_u64(0xABCD), 42),
        db: FileId { dev: 1, ino: 2, birth },
        wal: Some(FileId { dev: 1, ino: 3, birth }),
        pid: 77,
    }
}

fn file() -> File {
    tempfile::tempfile().unwrap()
}

#[test]
fn what_was_written_is_read() {
    let file = file();
    assert_eq!(Fence::read(&file).unwrap(), None);
    for fence in [fence(Some(99)), fence(None), Fence { wal: None, ..fence(Some(1)) }] {
        fence.write(&file).unwrap();
        assert_eq!(Fence::read(&file).unwrap(), Some(fence));
    }
}

#[test]
fn one_of_the_older_form_is_read_also_over_a_newer_one() {
    let file = file();
    fence(Some(99)).write(&file).unwrap();
    let mut bytes: Vec<u8> =
        [V1, 0xABCD, 42, 1, 2, 1, 3, 77].iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend(fnv(&[&bytes]).to_be_bytes());
    file.write_all_at(&bytes, 0).unwrap();
    assert_eq!(Fence::read(&file).unwrap(), Some(fence(None)));
    file.set_len(72).unwrap();
    assert_eq!(Fence::read(&file).unwrap(), Some(fence(None)));
}

#[test]
fn one_that_is_damaged_or_cut_is_none() {
    let file = file();
    for at in 0..WORDS as u64 {
        fence(Some(99)).write(&file).unwrap();
        file.write_all_at(&[0xFF], at * 8 + 7).unwrap();
        assert_eq!(Fence::read(&file).unwrap(), None, "word {at}");
    }
    fence(Some(99)).write(&file).unwrap();
    file.set_len(80).unwrap();
    assert_eq!(Fence::read(&file).unwrap(), None);
}
