//! The specification's steps, word for word and with no thought of speed: what the parser is measured against.
//!
//! It sees the whole stream at once, decodes first and cuts into lines afterwards, so it shares
//! neither code nor method with the parser. The fuzz target includes this file.

/// One thing the stream said, in the reference's own words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A dispatched event: type, data, last event id.
    Event(String, String, String),
    /// The reconnection time, in milliseconds.
    Retry(u64),
    /// A comment line.
    Comment(String),
}

/// Interprets a whole stream and returns what it said, and the last event id at its end.
pub(crate) fn interpret(stream: &[u8]) -> (Vec<Said>, String) {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<_> = text.split('\n').collect();
    // What follows the last line ending is not a line.
    lines.pop();

    let mut said = Vec::new();
    let mut last_event_id = String::new();
    let (mut data_buffer, mut event_type_buffer) = (String::new(), String::new());
    let mut last_event_id_buffer = String::new();
    for line in lines {
        if line.is_empty() {
            last_event_id.clone_from(&last_event_id_buffer);
            if data_buffer.is_empty() {
                event_type_buffer.clear();
                continue;
            }
            data_buffer.pop();
            if event_type_buffer.is_empty() {
                event_type_buffer.push_str("message");
            }
            let (kind, data) =
                (std::mem::take(&mut event_type_buffer), std::mem::take(&mut data_buffer));
            said.push(Said::Event(kind, data, last_event_id.clone()));
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => said.push(Said::Comment(value.to_owned())),
            "event" => value.clone_into(&mut event_type_buffer),
            "data" => {
                data_buffer.push_str(value);
                data_buffer.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut last_event_id_buffer),
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                said.push(Said::Retry(value.parse().unwrap_or(u64::MAX)));
            }
            _ => {}
        }
    }
    (said, last_event_id)
}
