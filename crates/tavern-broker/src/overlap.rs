//! Whether two filters may match the same topic.

use tavern_backend::TopicFilter;

/// Whether some topic is matched by both.
pub(crate) fn may_share(a: &TopicFilter, b: &TopicFilter) -> bool {
    let a: Vec<&str> = a.as_str().split('/').collect();
    let b: Vec<&str> = b.as_str().split('/').collect();
    // reach[j]: the first i segments of `a` and the first j of `b` can match the same prefix.
    let mut reach = vec![false; b.len() + 1];
    for i in 0..=a.len() {
        let above = reach.clone();
        for j in 0..=b.len() {
            let from_a = i > 0 && above[j] && a[i - 1] == "**";
            let from_b = j > 0 && reach[j - 1] && b[j - 1] == "**";
            let both = i > 0 && j > 0 && above[j - 1] && one_segment(a[i - 1], b[j - 1]);
            // `**` that takes a segment of the other side and stays.
            let a_stays = j > 0 && i > 0 && reach[j - 1] && a[i - 1] == "**";
            let b_stays = i > 0 && j > 0 && above[j] && b[j - 1] == "**";
            reach[j] = (i == 0 && j == 0) || from_a || from_b || both || a_stays || b_stays;
        }
    }
    reach[b.len()]
}

fn one_segment(a: &str, b: &str) -> bool {
    a == b || matches!(a, "*" | "**") || matches!(b, "*" | "**")
}

#[cfg(test)]
mod tests {
    use tavern_backend::TopicFilter;

    use super::may_share;

    #[track_caller]
    fn check(a: &str, b: &str, expected: bool) {
        let (a, b) = (TopicFilter::new(a).unwrap(), TopicFilter::new(b).unwrap());
        assert_eq!(may_share(&a, &b), expected, "{a} and {b}");
        assert_eq!(may_share(&b, &a), expected, "{b} and {a}");
    }

    #[test]
    fn filters_share_topics_or_not() {
        check("a", "a", true);
        check("a", "b", false);
        check("a/*", "*/b", true);
        check("a/*", "b/*", false);
        check("**", "a/b/c", true);
        check("a/**", "a", true);
        check("a/**/z", "a/b/*", true);
        check("a/**/z", "b/**", false);
        check("*", "a/b", false);
        check("**/x", "y/**", true);
        check("*/x", "x", false);
    }
}
