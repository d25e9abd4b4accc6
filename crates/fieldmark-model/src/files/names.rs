//! Names of results: no two collide, and file systems take them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The longest part of an image's name that is kept, in bytes.
const LONGEST_STEM: usize = 120;

/// The longest slug of a prompt, in bytes. With the longest stem, a number and a kind it stays well under
/// the 255 bytes that file systems allow.
const LONGEST_SLUG: usize = 80;

/// A prompt as a part of a file name: its words in lower case, joined by `-`.
///
/// Letters and digits of every script are kept; everything else separates words. The slug is never empty
/// and at most 80 bytes long; where words are lost to that, or where none are left, a number made from the
/// whole prompt stands for them. Prompts that differ in punctuation or case alone have the same slug:
/// [`Names`] distinguishes them.
pub fn slug(prompt: &str) -> String {
    let lower = prompt.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let slug = words.join("-");
    if slug.is_empty() {
        return format!("prompt-{:08x}", fingerprint(prompt));
    }
    if slug.len() <= LONGEST_SLUG {
        return slug;
    }
    let kept = prefix(&slug, LONGEST_SLUG - "-01234567".len()).trim_end_matches('-');
    format!("{kept}-{:08x}", fingerprint(prompt))
}

/// FNV-1a: small, and the same on every machine and in every release, which the standard hasher is not.
fn fingerprint(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The longest start of a text that has at most `bytes` bytes and cuts no character.
fn prefix(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Hands out the names of one run's files, none of them twice.
///
/// A name is what stands before the kind: `photo.red-bird` in `photo.red-bird.overlay.png`. A name that was
/// handed out before gets a number (`photo.red-bird-2`), so the same calls in the same order always give
/// the same names. Names that differ only in case count as the same, because on some file systems they are.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// How often each name was asked for, by its lower-case form.
    asked: HashMap<String, usize>,
}

impl Names {
    /// Nothing handed out yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for what belongs to one image and one prompt.
    pub fn for_prompt(&mut self, image: &Path, prompt: &str) -> String {
        self.free(format!("{}.{}", stem(image), slug(prompt)))
    }

    /// A name for what belongs to one image and all its prompts.
    pub fn for_image(&mut self, image: &Path) -> String {
        self.free(stem(image))
    }

    fn free(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        while let Some(times) = self.asked.get(&name.to_lowercase()).copied() {
            // The name and its numbered forms share one count, so many equal names cost no search.
            let asked = self.asked.entry(wanted.to_lowercase()).or_insert(times);
            *asked += 1;
            name = format!("{wanted}-{asked}");
        }
        self.asked.insert(name.to_lowercase(), 1);
        name
    }
}

/// A text as it can be shown on one line of a terminal or a page: what could redraw the screen, or turn the direction of
/// writing around, is spelled out, as in `\u{202e}`.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() || is_direction_mark(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm, and its separators of lines.
fn is_direction_mark(letter: char) -> bool {
    matches!(
        letter,
        '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// The path of a file of one kind: `<folder>/<name>.<kind>.<extension>`.
pub fn path_of(folder: &Path, name: &str, kind: &str, extension: &str) -> PathBuf {
    folder.join(format!("{name}.{kind}.{extension}"))
}

/// An image's file name without its extension, cut to what file systems allow.
fn stem(image: &Path) -> String {
    let stem = image.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let clean: String =
        stem.chars().map(|c| if c.is_control() || "/\\:".contains(c) { '_' } else { c }).collect();
    match prefix(&clean, LONGEST_STEM) {
        "" => "image".to_owned(),
        kept => kept.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_words_of_any_script() {
        assert_eq!(slug("Red-winged  Blackbird's shoulder!"), "red-winged-blackbird-s-shoulder");
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("Красная птица"), "красная-птица");
        assert_eq!(slug("赤い鳥"), "赤い鳥");
    }

    #[test]
    fn slugs_are_never_empty_and_never_long() {
        assert_eq!(slug(""), "prompt-811c9dc5");
        assert_ne!(slug("🐦"), slug("🐈"));
        let (a, b) = (format!("{} a", "long ".repeat(99)), format!("{} b", "long ".repeat(99)));
        assert!(slug(&a).len() <= LONGEST_SLUG && slug(&a) != slug(&b));
        assert!(slug(&"鳥".repeat(200)).len() <= LONGEST_SLUG);
    }

    #[test]
    fn names_are_never_handed_out_twice() {
        let mut names = Names::new();
        let mut name = |image: &str, prompt: &str| names.for_prompt(Path::new(image), prompt);
        assert_eq!(name("a/photo.jpg", "red bird"), "photo.red-bird");
        assert_eq!(name("a/photo.jpg", "red bird!"), "photo.red-bird-2");
        assert_eq!(name("b/PHOTO.png", "red bird"), "PHOTO.red-bird-3");
        assert_eq!(name("a/photo.jpg", "red bird 2"), "photo.red-bird-2-2");
        assert_eq!(name("a/other.jpg", "red bird"), "other.red-bird");
        assert_eq!(names.for_image(Path::new("a/photo.jpg")), "photo");
        assert_eq!(names.for_image(Path::new("b/photo.jpg")), "photo-2");
    }

    #[test]
    fn what_could_deceive_a_reader_is_spelled_out() {
        assert_eq!(shown("photo\u{202e}gpj.exe"), "photo\\u{202e}gpj.exe");
        assert_eq!(shown("a\u{1b}[31mb\nc\td\u{9b}"), "a\\u{1b}[31mb\\nc\\td\\u{9b}");
        for mark in
            ["\u{61c}", "\u{200e}", "\u{200f}", "\u{202a}", "\u{2066}", "\u{2069}", "\u{2028}", "\u{7f}"]
        {
            assert!(shown(mark).starts_with('\\'), "{mark:?}");
        }
        let plain = "Красная птица, 赤い鳥, طائر أحمر, 👩\u{200d}🚀 \\ \"quoted\"";
        assert_eq!(shown(plain), plain);
    }

    #[test]
    fn names_fit_a_file_system() {
        let name = Names::new().for_prompt(Path::new(&"é".repeat(300)), &"word ".repeat(300));
        assert!(path_of(Path::new(""), &format!("{name}-99999"), "overlay", "png").as_os_str().len() <= 255);
        assert_eq!(Names::new().for_image(Path::new("..")), "image");
    }
}
