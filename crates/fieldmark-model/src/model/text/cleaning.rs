//! A prompt as it was typed becomes the text that open_clip splits: its `basic_clean` with `lower`, `whitespace` or
//! `canonicalize` behind it.
//!
//! open_clip repairs text with ftfy (Speer, <https://github.com/rspeer/python-ftfy>), resolves HTML's named
//! characters twice, and collapses white space. Of ftfy's `fix_text` this has: UTF-8 that was read as Latin-1 or
//! Windows-1252, in whole texts and inside others; characters 0x80 to 0x9f that are meant as Windows-1252; ligatures,
//! full and half width, curly quotes, line breaks, control characters, terminal escapes, and NFC. Left out, because
//! prompts do not come that way: text that went through another code page (Windows-1250, -1251, Mac OS Roman, ...),
//! that lost characters on the way, and HTML's names in capitals (`&EACUTE;`). ftfy decides by the characters around
//! whether text is broken; the rule here is shorter, see [`is_convincing`].

use tokenizers::NormalizedString;

/// How a prompt is cleaned before it is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cleaning {
    /// Nothing: the checkpoint's tokenizer does what is to be done, as in transformers.
    None,
    /// Repaired, in lower case, with single spaces: open_clip's own tokenizer.
    Lower,
    /// Repaired, with single spaces: open_clip's wrapper of other tokenizers.
    Whitespace,
    /// Repaired, without ASCII punctuation, in lower case, with single spaces: open_clip's SigLIP.
    Canonicalize,
}

impl Cleaning {
    /// The cleaned text.
    pub fn apply(self, text: &str) -> String {
        match self {
            Self::None => text.to_owned(),
            Self::Lower => single_spaces(&repaired(text)).to_lowercase(),
            Self::Whitespace => single_spaces(&repaired(text)),
            Self::Canonicalize => canonical(&repaired(text)),
        }
    }
}

/// Underscores part words, other ASCII punctuation is dropped (as big_vision does for SigLIP's prompts).
fn canonical(text: &str) -> String {
    let spaced = text.replace('_', " ");
    let plain: String = spaced.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    single_spaces(&plain.to_lowercase())
}

fn single_spaces(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// open_clip's `basic_clean`.
fn repaired(text: &str) -> String {
    let fixed: String = text.split_inclusive('\n').map(fix_line).collect();
    let once = htmlize::unescape(fixed.as_str());
    htmlize::unescape(once.as_ref()).into_owned()
}

/// The most rounds of repair: every round that changes anything undoes one layer of damage, and text with more
/// layers is no prompt.
const MOST_ROUNDS: usize = 16;

fn fix_line(line: &str) -> String {
    let mut text = line.to_owned();
    // Where there is a tag, `&lt;` is meant as it is written.
    let is_markup = line.contains('<');
    for _ in 0..MOST_ROUNDS {
        let resolved = if is_markup { text.clone() } else { resolve_entities(&text) };
        let fixed = fix_characters(&fix_encoding(&resolved));
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

/// Resolves `&name;` and `&#number;`, but nothing that lacks its semicolon: "this&not that" stays.
fn resolve_entities(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        let (before, from) = rest.split_at(start);
        output.push_str(before);
        let name = |c: char| c.is_ascii_alphanumeric() || c == '#';
        let end = from[1..].find(|c: char| !name(c)).map_or(from.len(), |at| at + 1);
        let whole = end < from.len() && from[end..].starts_with(';');
        let end = if whole { end + 1 } else { end };
        let entity = &from[..end];
        let resolved = htmlize::unescape(entity);
        let keep = !whole || resolved.contains(';');
        output.push_str(if keep { entity } else { resolved.as_ref() });
        rest = &from[end..];
    }
    output + rest
}

/// Undoes UTF-8 that was read as Windows-1252, wherever it stands in the text.
fn fix_encoding(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let characters: Vec<char> = text.chars().collect();
    // ASCII, which no sequence has in it, for what Windows-1252 has not.
    let bytes: Vec<u8> = characters.iter().map(|c| windows_1252(*c).unwrap_or(0)).collect();
    let mut output = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let run = leading_sequences(&bytes[at..]);
        match std::str::from_utf8(&bytes[at..at + run]) {
            Ok(decoded) if is_convincing(&bytes[at..at + run]) => {
                output.push_str(decoded);
                at += run;
            }
            _ => {
                output.push(characters[at]);
                at += 1;
            }
        }
    }
    output
}

/// Whether bytes that are UTF-8 were hardly meant as the Windows-1252 characters that they also are: a pair that
/// begins with `Â` or `Ã` (`Ã¶`), three that begin with `â` (`â€™`), four that begin with `ð` (an emoji), or several
/// characters in a row, as other alphabets have (`ÐŸÑ€`). One pair may begin with `Ä`, `Å` or `Ì`, too. Behind these
/// three and `â`, what ends a word or a quotation may be meant as it is: `Å”`.
fn is_convincing(bytes: &[u8]) -> bool {
    match bytes {
        [0xc2 | 0xc3 | 0xf0..=0xf4, ..] => true,
        [0xc4 | 0xc5 | 0xcc, second] | [0xe2, second, _] => {
            !matches!(second, 0x85 | 0x92 | 0x94 | 0x99 | 0xae | 0xbb)
        }
        _ => bytes.len() >= 4,
    }
}

/// The length of the multi-byte UTF-8 sequences that the bytes begin with.
fn leading_sequences(bytes: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let one = match bytes.get(length) {
            Some(0xc2..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf4) => 4,
            _ => return length,
        };
        match bytes.get(length..length + one) {
            Some(sequence) if std::str::from_utf8(sequence).is_ok() => length += one,
            _ => return length,
        }
    }
}

/// What Windows-1252 has at 0x80 to 0x9f; where it has nothing, the control characters of Latin-1, as browsers do.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The byte from 0x80 on that stands for a character in Windows-1252, or in Latin-1.
fn windows_1252(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ 0x80..=0xff => Some(code as u8),
        _ => WINDOWS_1252.iter().position(|c| *c == character).map(|at| 0x80 + at as u8),
    }
}

/// ftfy's replacements of single characters, and NFC.
fn fix_characters(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    for character in without_escapes(&text.replace("\r\n", "\n")).chars() {
        match character {
            '\u{80}'..='\u{9f}' => fixed.push(WINDOWS_1252[character as usize - 0x80]),
            '\u{2bc}' | '\u{2018}'..='\u{201b}' => fixed.push('\''),
            '\u{201c}'..='\u{201f}' => fixed.push('"'),
            '\r' | '\u{2028}' | '\u{2029}' => fixed.push('\n'),
            'ﬅ' => fixed.push_str("ſt"),
            'Ĳ'
            | 'ĳ'
            | 'ŉ'
            | 'Ǆ'..='ǌ'
            | 'Ǳ'..='ǳ'
            | 'ﬀ'..='ﬄ'
            | 'ﬆ'
            | '\u{3000}'
            | '\u{ff01}'..='\u{ffef}' => {
                fixed.push_str(NormalizedString::from(character.to_string()).nfkc().get());
            }
            _ if is_dropped(character) => {}
            _ => fixed.push(character),
        }
    }
    NormalizedString::from(fixed).nfc().get().to_owned()
}

/// Control characters that make no white space, and other invisible ones that text has no use for.
fn is_dropped(character: char) -> bool {
    matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}'
        | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// Without what sets colours in a terminal: escape, bracket, numbers and semicolons, a letter.
fn without_escapes(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\u{1b}[") {
        output.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let end = inside.find(|c: char| !(c.is_ascii_digit() || c == ';')).unwrap_or(inside.len());
        if inside[end..].starts_with(|c: char| c.is_ascii_alphabetic()) {
            rest = &inside[end + 1..];
        } else {
            output.push_str("\u{1b}[");
            rest = inside;
        }
    }
    output + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What open_clip 3.3.0 with ftfy 6.3.1 makes of these.
    #[test]
    fn cleans_as_open_clip_does() {
        let cases = [
            ("A Photo  of\ta\n BIRD ", "a photo of a bird"),
            ("“curly” ‘quotes’ — dash", "\"curly\" 'quotes' — dash"),
            ("rock &amp; roll &lt;b&gt; caf&eacute;", "rock & roll <b> café"),
            ("&amp;lt; and &amp;amp;amp;amp; &copy &#233; &notit;", "< and & © é ¬it;"),
            ("<b> &amp;amp;amp; </b>", "<b> &amp; </b>"),
            ("schÃ¶n — lâ€™oiseau", "schön — l'oiseau"),
            ("ÃƒÂ©", "é"),
            ("Å¾luÅ¥ouÄ\u{8d}kÃ½ Å“uvre AÄŸaÃ§", "žluťoučký œuvre ağaç"),
            ("Ålesund, CAFÉ®, Å” x, “l’été”…", "ålesund, café®, å\" x, \"l'été\"…"),
            ("ã\u{81}Šã\u{81}¯ã‚ˆã\u{81}†", "おはよう"),
            ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "привет"),
            ("ðŸ\u{90}¦ sings", "🐦 sings"),
            ("Ångström, naïve, ½ × ¾", "ångström, naïve, ½ × ¾"),
            ("voilà «là»", "voilà «là»"),
            ("ﬁne ﬀ ＦＵＬＬ ½ ²\u{3000}ｶ", "fine ff full ½ ² カ"),
            ("Ĳ ǆ", "ij dž"),
            ("İSTANBUL STRAẞE ŒUVRE ΣΊΣΥΦΟΣ", "i\u{307}stanbul straße œuvre σίσυφος"),
            ("cafe\u{301}", "café"),
            ("a\u{0}b\u{7f}c\u{feff}d \u{1b}[31mred\u{1b}[0m", "abcd red"),
            (
                "zero\u{200b}width soft\u{ad}hyphen nb\u{a0}space",
                "zero\u{200b}width soft\u{ad}hyphen nb space",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Cleaning::Lower.apply(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_other_ways_differ_in_case_and_punctuation() {
        let text = "  It's a_RED-winged  Bird! ";
        assert_eq!(Cleaning::None.apply(text), text);
        assert_eq!(Cleaning::Whitespace.apply(text), "It's a_RED-winged Bird!");
        assert_eq!(Cleaning::Canonicalize.apply(text), "its a redwinged bird");
    }
}
