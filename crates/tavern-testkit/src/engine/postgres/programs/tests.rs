use std::fs;
use std::path::Path;

use super::{Programs, newest};

#[test]
fn the_newest_version_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(newest(dir.path()), None);
    // Of the last there are only clients, and the one before is no version.
    for version in ["9", "10", "current"] {
        let bin = dir.path().join(version).join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("postgres"), "").unwrap();
    }
    fs::create_dir_all(dir.path().join("17/bin")).unwrap();
    assert_eq!(newest(dir.path()), Some(dir.path().join("10/bin/postgres")));
    assert_eq!(newest(Path::new("/no/such")), None);
}

#[test]
fn a_program_that_is_missing_is_said_with_its_package() {
    let error = Programs("/no/such".into()).get("initdb").unwrap_err();
    let text = "there is no /no/such/initdb: install the Debian package postgresql";
    assert_eq!(error.to_string(), text);
}
