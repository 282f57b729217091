//! The log's retention rules beside those that a node is configured with.

use std::sync::Arc;

use tavern_backend::Retention;

use super::Log;
use crate::failure::Outcome;
use crate::number::signed;
use crate::schema;

impl Log {
    /// Compares the log's rules with the configured ones, and replaces them if told to. Returns
    /// the log's if it keeps them, and has said so.
    pub(super) fn settle_retention(&mut self) -> Outcome<Option<Retention>> {
        let shared = Arc::clone(&self.shared);
        let Some(wanted) = &shared.config.retention else { return Ok(None) };
        let open = self.opened()?;
        if open.retention.same_rules(wanted) {
            return Ok(None);
        }
        if !shared.config.apply_retention {
            tracing::warn!("{}", wanted.explain_mismatch(&open.retention));
            return Ok(Some(open.retention.clone()));
        }
        let mut rules = wanted.clone();
        rules.version = open.retention.version + 1;
        tracing::info!(
            "the log kept {}; from now on it keeps {}, for all nodes",
            open.retention,
            rules,
        );
        let tx = open.conn.unchecked_transaction()?;
        schema::write_retention(&tx, &rules)?;
        tx.execute("UPDATE state SET retention = ?1", [signed(rules.version)])?;
        // Every lane has to be looked at again; reads do that by themselves until the sweep has.
        tx.execute("UPDATE lanes SET due = 0", [])?;
        tx.commit()?;
        open.retention = rules;
        Ok(None)
    }
}
