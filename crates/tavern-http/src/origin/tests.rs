use super::*;

#[track_caller]
fn check_published(allowed: &[&str], headers: &[(HeaderName, &str)], expected: bool) {
    let allowed: Vec<AllowedOrigin> = allowed.iter().map(|o| o.parse().unwrap()).collect();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
        .collect();
    assert_eq!(check(&allowed, &headers).is_ok(), expected);
}

#[test]
fn what_is_no_browser_may_publish() {
    check_published(&[], &[], true);
}

#[test]
fn another_site_may_publish_only_if_it_is_allowed() {
    let evil = [(ORIGIN, "https://evil.example"), (HOST, "127.0.0.1:8080")];
    check_published(&[], &evil, false);
    check_published(&["https://app.example"], &evil, false);
    check_published(&["https://evil.example"], &evil, true);
    check_published(&["*"], &evil, true);
    check_published(&[], &[(ORIGIN, "null"), (HOST, "127.0.0.1:8080")], false);
}

#[test]
fn its_own_page_may_publish() {
    let own = [(ORIGIN, "http://127.0.0.1:8080"), (HOST, "127.0.0.1:8080")];
    check_published(&[], &own, true);
    let proxied =
        [(ORIGIN, "https://live.example"), (HOST, "upstream"), (SEC_FETCH_SITE, "same-origin")];
    check_published(&[], &proxied, true);
    let cross =
        [(ORIGIN, "https://live.example"), (HOST, "upstream"), (SEC_FETCH_SITE, "cross-site")];
    check_published(&[], &cross, false);
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    for good in ["*", "https://app.example", "http://localhost:3000", "http://[::1]:8080"] {
        assert!(good.parse::<AllowedOrigin>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "app.example",
        "https://app.example/",
        "https://*.example",
        "ftp://a",
        "null",
        "https://App.example",
        "https://",
        "https://a b",
        "https://user@host",
    ] {
        let error = bad.parse::<AllowedOrigin>().unwrap_err().to_string();
        assert!(error.contains("https://app.example"), "{error}");
    }
}
