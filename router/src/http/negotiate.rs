//! What a client wants to be answered with, from its Accept header.

use http::HeaderMap;
use http::header::ACCEPT;

/// Whether the client names a JSON type: only then are errors `application/problem+json` on plain
/// endpoints. `*/*`, which curl sends on its own, is no wish.
pub fn asks_for_json(headers: &HeaderMap) -> bool {
    any_range(headers, |range| {
        let json = |subtype: &str| subtype == "json" || subtype.ends_with("+json");
        range.split_once('/').is_some_and(|(kind, subtype)| kind == "application" && json(subtype))
    })
}

/// Whether JSON would do as well: what `version` goes by.
pub fn admits_json(headers: &HeaderMap) -> bool {
    asks_for_json(headers) || any_range(headers, |range| matches!(range, "*/*" | "application/*"))
}

fn any_range(headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|item| {
            let mut parts = item.split(';').map(|part| part.trim().to_ascii_lowercase());
            let range = parts.next().unwrap_or_default();
            let refused = parts.any(|part| {
                let weight = part.strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
                weight.is_some_and(|weight| weight <= 0.0)
            });
            !refused && wanted(&range)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_named_json_type_asks() {
        for (accept, asks, admits) in [
            ("application/json", true, true),
            ("text/html, Application/JSON;q=0.9", true, true),
            ("application/problem+json", true, true),
            ("application/json;q=0", false, false),
            ("*/*", false, true),
            ("application/*", false, true),
            ("text/plain", false, false),
            ("text/json-ish", false, false),
            ("", false, false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(asks_for_json(&headers), asks, "{accept}");
            assert_eq!(admits_json(&headers), admits, "{accept}");
        }
        assert!(!admits_json(&HeaderMap::new()));
    }
}
