//! Publishes at a steady pace, whoever listens.

use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Drops, DropsError};

impl Drops {
    /// Publishes to `nodes` for as long as it is to last; how many messages each topic has. Each is
    /// a `POST` to `/topics/NAME`, sent when the one to this topic before it was accepted.
    ///
    /// # Errors
    ///
    /// If a message is not accepted.
    pub async fn publish(&self, nodes: &[String]) -> Result<Vec<u64>, DropsError> {
        let until = Instant::now() + self.length;
        let publishers = self.publishers.max(1);
        let parts = (0..publishers).map(async |publisher| {
            let http = reqwest::Client::new();
            let node = &nodes[publisher % nodes.len()];
            let mut ticks = interval(self.every);
            // A pause of the machine is not made good by a burst.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut number = 0_u64;
            loop {
                ticks.tick().await;
                // All at once: what each takes on a slow server does not slow the pace of all.
                let topics = (publisher..self.topics).step_by(publishers);
                let posts = topics.map(|topic| {
                    let url = format!("{node}/topics/{}", self.topic(topic));
                    post(&http, url, format!("{topic} {number}"))
                });
                try_join_all(posts).await?;
                number += 1;
                // Not after a wait for nothing: the end is when the last one was accepted.
                if Instant::now() + self.every > until {
                    return Ok::<_, DropsError>((publisher, number));
                }
            }
        });
        let mut published = vec![0; self.topics];
        for part in join_all(parts).await {
            let (publisher, number) = part?;
            published.iter_mut().skip(publisher).step_by(publishers).for_each(|n| *n = number);
        }
        Ok(published)
    }
}

/// Resolves when it is accepted.
async fn post(http: &reqwest::Client, url: String, data: String) -> Result<(), DropsError> {
    let failed = |why: String| DropsError::Publish(url.clone(), why);
    let answer = http.post(&url).body(data).send().await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    let status = answer.status();
    // Read to its end, so that the connection serves the next one.
    let said = answer.text().await.map_err(|error| failed(error.to_string()))?;
    if status.is_success() { Ok(()) } else { Err(failed(format!("{status}: {said}"))) }
}
