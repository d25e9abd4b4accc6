//! Which of a few media types a client prefers.

use axum::http::{HeaderMap, header};

/// The first of `offered` with the highest quality in the `Accept` headers (RFC 9110, 12.5.1); none if all are refused.
/// Without such a header it is the first.
pub(super) fn preferred(headers: &HeaderMap, offered: &[&'static str]) -> Option<&'static str> {
    let values: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<(&str, f32)> = values.iter().flat_map(|value| value.split(',')).map(range).collect();
    if ranges.is_empty() {
        return offered.first().copied();
    }
    let mut best: Option<(&'static str, f32)> = None;
    for offer in offered {
        let quality = quality(&ranges, offer);
        if quality > best.map_or(0.0, |(_, known)| known) {
            best = Some((offer, quality));
        }
    }
    best.map(|(offer, _)| offer)
}

/// A media range and its quality.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (range, quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
}

/// The quality that the most specific range gives a type.
fn quality(ranges: &[(&str, f32)], offer: &str) -> f32 {
    let group = offer.split('/').next().unwrap_or_default();
    let specificity = |range: &str| match range.split_once('/') {
        _ if range.eq_ignore_ascii_case(offer) => Some(2),
        Some((kind, "*")) if kind.eq_ignore_ascii_case(group) => Some(1),
        Some(("*", "*")) => Some(0),
        _ => None,
    };
    let fitting = ranges.iter().filter_map(|(range, quality)| Some((specificity(range)?, *quality)));
    fitting.max_by_key(|(specificity, _)| *specificity).map_or(0.0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 2] = ["application/json", "application/x-npy"];

    fn of(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        preferred(&headers, &OFFERED)
    }

    #[test]
    fn the_most_wanted_type_is_chosen() {
        assert_eq!(preferred(&HeaderMap::new(), &OFFERED), Some("application/json"));
        assert_eq!(of("*/*"), Some("application/json"));
        assert_eq!(of("application/x-npy"), Some("application/x-npy"));
        assert_eq!(of("application/json;q=0.5, application/X-NPY"), Some("application/x-npy"));
        assert_eq!(of("application/*, application/json;q=0.1"), Some("application/x-npy"));
        assert_eq!(of("text/html"), None);
        assert_eq!(of("application/json;q=0"), None);
    }
}
