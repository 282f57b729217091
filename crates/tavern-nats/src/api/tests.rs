use super::*;

/// What becomes of a publish that is answered with this.
fn answered(payload: &str) -> Result<u64> {
    let message = Message {
        subject: "_INBOX.x".into(),
        reply: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        headers: None,
        status: None,
        description: None,
        length: payload.len(),
    };
    Ack::read(&message).map(|ack| ack.seq)
}

#[test]
fn a_publish_is_in_doubt_where_the_answer_does_not_tell() {
    assert_eq!(answered(r#"{"stream":"S","seq":7}"#).unwrap(), 7);
    let refused = r#"{"error":{"code":503,"err_code":10077,"description":"full"},"seq":0}"#;
    assert!(!answered(refused).unwrap_err().unknown, "it was refused");
    let cut = answered(r#"{"stream":"S","se"#).unwrap_err();
    assert!(cut.unknown, "{cut:?}");
    let twice = r#"{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"},"seq":0}"#;
    let twice = answered(twice).unwrap_err();
    assert!(twice.unknown, "the first one may still be stored: {twice:?}");
}
