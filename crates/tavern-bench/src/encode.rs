//! Encoding frames, which is done once for each message.

use std::hint::black_box;

use tavern_sse::{FieldValue, Frame};
use tokio::time::Instant;

use crate::figure::{Figure, number};
use crate::pairs::median;
use crate::plan::Plan;
use crate::report::Section;
use crate::run::Result;

/// A payload to encode.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    lines: usize,
    width: usize,
}

/// What is encoded.
pub const CASES: [Case; 3] = [
    Case { name: "256 B, one line", lines: 1, width: 256 },
    Case { name: "256 B, 8 lines", lines: 8, width: 31 },
    Case { name: "16 KiB, one line", lines: 1, width: 16 << 10 },
];

impl Case {
    /// The payload.
    #[must_use]
    pub fn payload(&self) -> String {
        vec!["x".repeat(self.width); self.lines].join("\n")
    }

    /// Encodes `payload` with an id as long as a cursor's.
    ///
    /// # Errors
    ///
    /// None that can happen: the id is valid.
    pub fn encode(&self, payload: &str) -> Result<usize> {
        let id = FieldValue::new("10w8xhq3z5k7da-123456")?;
        let frame = Frame { id: Some(id), data: Some(payload), ..Frame::default() };
        Ok(black_box(frame.encode()).bytes.len())
    }
}

/// Measures all cases.
pub(crate) fn measure(plan: &Plan) -> Result<Section> {
    let mut section =
        Section::new("Encoding a frame, once for all who get it", &["frames", "bytes"]);
    for case in CASES {
        let payload = case.payload();
        let mut bytes = 0;
        let mut rates = Vec::with_capacity(plan.pairs);
        for _ in 0..plan.pairs {
            let start = Instant::now();
            for _ in 0..plan.encodings {
                bytes = case.encode(black_box(&payload))?;
            }
            rates.push(number(plan.encodings) / start.elapsed().as_secs_f64());
        }
        let rate = median(rates);
        section.row(case.name, [Figure::Rate(rate), Figure::Rate(rate * number(bytes))]);
    }
    Ok(section)
}
