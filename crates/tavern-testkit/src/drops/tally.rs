//! What one client received, counted.

/// What clients received of what was published.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Messages, each counted once.
    pub delivered: u64,
    /// Messages that came again.
    pub twice: u64,
    /// Messages behind a later one of their topic.
    pub disordered: u64,
    /// Times a client was told that something may be missing.
    pub told: u64,
    /// What nobody published for this client.
    pub foreign: u64,
    seen: Vec<bool>,
}

impl Tally {
    /// Takes the data of a message to `topic`: `TOPIC NUMBER`.
    pub fn message(&mut self, topic: usize, data: &str) {
        let mut words = data.split(' ').map(str::parse::<usize>);
        let (Some(Ok(of)), Some(Ok(number))) = (words.next(), words.next()) else {
            self.foreign += 1;
            return;
        };
        if of != topic {
            self.foreign += 1;
            return;
        }
        match self.seen.get_mut(number) {
            Some(true) => self.twice += 1,
            Some(late) => {
                *late = true;
                self.delivered += 1;
                self.disordered += 1;
            }
            None => {
                self.seen.resize(number, false);
                self.seen.push(true);
                self.delivered += 1;
            }
        }
    }

    /// Takes the word that something is missing.
    pub const fn gap(&mut self) {
        self.told += 1;
    }

    /// Adds the figures of another client.
    pub const fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.twice += other.twice;
        self.disordered += other.disordered;
        self.told += other.told;
        self.foreign += other.foreign;
    }
}
