//! Mutations of JSON: of its bytes, and of its values.

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// A mutant of a document.
pub(crate) fn mutant(document: &Value, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut document = document.clone();
    for _ in 0..random.random_range(0..4) {
        change(&mut document, random);
    }
    let mut bytes = document.to_string().into_bytes();
    if random.random_ratio(1, 3) {
        for _ in 0..random.random_range(1..4) {
            change_bytes(&mut bytes, random);
        }
    }
    bytes
}

/// Flips, deletes, inserts or repeats bytes, or cuts the end off.
pub(crate) fn change_bytes(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = random.random_range(0..bytes.len());
    let end = (at + random.random_range(1..20)).min(bytes.len());
    match random.random_range(0..5) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.insert(at, *b"{}[]\",:0-9\\eE.\0\xff".choose(random).unwrap()),
        3 => {
            let part = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, part));
        }
        _ => bytes.truncate(at),
    }
}

/// Values that a reader may not expect.
fn odd(random: &mut ChaCha8Rng) -> Value {
    let long = random.random_range(1..3000);
    let odd = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e308),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!(" "),
        json!("a"),
        json!("\u{0}"),
        json!("\u{202e}\u{fdfa}"),
        json!("x".repeat(long)),
        json!([]),
        json!({}),
        json!([[]]),
        json!(vec![0; long]),
    ];
    odd.choose(random).unwrap().clone()
}

/// Changes one value somewhere in a document.
fn change(document: &mut Value, random: &mut ChaCha8Rng) {
    let paths = paths(document);
    let path = paths.choose(random).unwrap();
    let other = document.pointer(paths.choose(random).unwrap()).cloned().unwrap_or_default();
    let new = odd(random);
    let Some(value) = document.pointer_mut(path) else { return };
    match (random.random_range(0..6), value) {
        (0, Value::Array(list)) if !list.is_empty() => {
            let at = random.random_range(0..list.len());
            drop(list.remove(at));
        }
        (1, Value::Array(list)) if !list.is_empty() && list.len() < 2000 => {
            let copies = random.random_range(1..20);
            let one = list[random.random_range(0..list.len())].clone();
            list.extend(std::iter::repeat_n(one, copies));
        }
        (0 | 1, Value::Object(fields)) if !fields.is_empty() => {
            let at = random.random_range(0..fields.len());
            let name = fields.keys().nth(at).unwrap().clone();
            let value = fields.remove(&name).unwrap();
            if random.random_ratio(1, 3) {
                fields.insert(format!("{name}x"), value);
            }
        }
        (2, value) => *value = other,
        (3, Value::String(text)) => {
            let mut bytes = std::mem::take(text).into_bytes();
            change_bytes(&mut bytes, random);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        (4, Value::String(text)) => *text = text.repeat(random.random_range(2..40)),
        (_, value) => *value = new,
    }
}

/// Where a document's values are, as JSON pointers; of a long list or object, some.
fn paths(document: &Value) -> Vec<String> {
    const MOST: usize = 40;
    let mut found = Vec::new();
    let mut open = vec![(String::new(), document)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Array(list) => {
                let items = list.iter().enumerate().take(MOST);
                open.extend(items.map(|(index, item)| (format!("{path}/{index}"), item)));
            }
            Value::Object(fields) => {
                let fields = fields.iter().take(MOST);
                open.extend(fields.map(|(name, value)| {
                    (format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), value)
                }));
            }
            _ => {}
        }
        found.push(path);
    }
    found
}
