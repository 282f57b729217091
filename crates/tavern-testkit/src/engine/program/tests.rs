use super::find;

#[test]
fn a_program_that_is_missing_is_said_with_its_package() {
    let error = find("no-such-engine", "the Debian package some-engine").unwrap_err();
    let text =
        "there is no `no-such-engine` on this machine: install the Debian package some-engine";
    assert_eq!(error.to_string(), text);
    assert!(find("sh", "a shell").unwrap().is_absolute());
}
