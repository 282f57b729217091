use super::*;

#[track_caller]
fn check_refused(value: &str, message: &str) {
    let err = FieldValue::new(value).expect_err("must be refused");
    assert_eq!(err.to_string(), message);
}

#[test]
fn line_endings_and_nul_are_refused_with_their_place() {
    check_refused("a\rb", "carriage return at byte 1 of a field value");
    check_refused("\n", "line feed at byte 0 of a field value");
    check_refused("é\0", "NUL at byte 2 of a field value");
    assert_eq!(FieldValue::new("ab\r\n").map_err(|e| e.position()), Err(2));
}

#[test]
fn everything_else_passes_unchanged() {
    for value in ["", " ", " leading", "a:b", ":", "\u{feff}", "\u{85}\u{2028}", "\t", "日本"] {
        assert_eq!(FieldValue::new(value).map(FieldValue::as_str), Ok(value));
    }
}

#[test]
fn a_constant_needs_no_check_at_run_time() {
    const NAME: FieldValue<'static> = FieldValue::from_static("tick");
    assert_eq!(NAME.to_string(), "tick");
}
