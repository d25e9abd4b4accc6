//! PAGE: records, maps and a photo become one HTML file, for a browser without a network.
//!
//! A page is markup, style and script that lie here as files, and the data as JSON. A content security policy lets
//! the browser run this very script and nothing else, and fetch nothing. What comes from outside (prompts, names of
//! files) is only ever data, and the scripts show it as text.

mod drawing;
mod gallery;
mod picture;
mod report;

pub use drawing::{Drawing, SCRIPT, STYLE, picture};
pub use gallery::{Gallery, Shot, Tile, gallery, thumbnails};
pub use report::{Maps, PageOptions, ReportPage, View, report};

use serde::Serialize;

use fieldmark_model::{
    digest::sha256,
    error::{Error, Result},
};

/// What made a page.
const PROGRAM: &str = concat!("fieldmark ", env!("CARGO_PKG_VERSION"));

/// The markup, style and scripts of a kind of page.
struct Frame {
    markup: &'static str,
    style: &'static str,
    script: &'static str,
    /// Where pictures may come from beside the page itself.
    pictures: &'static str,
}

impl Frame {
    /// The page with its data.
    fn page(&self, data: &impl Serialize) -> Result<String> {
        // The policy allows style and script by their hashes.
        let hash = |text: &str| picture::base64(&sha256(text.as_bytes()));
        let (style, script, pictures) = (hash(self.style), hash(self.script), self.pictures);
        let policy = format!(
            "default-src 'none'; img-src data: {pictures}; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
             base-uri 'none'; form-action 'none'"
        );
        let parts = [
            ("policy", policy.as_str()),
            ("style", self.style),
            ("data", &embedded(data)?),
            ("script", self.script),
        ];
        Ok(filled(self.markup, &parts))
    }
}

/// The markup with every `{{name}}` replaced, once: what a part holds is not looked at again.
fn filled(markup: &str, parts: &[(&str, &str)]) -> String {
    let mut page = String::new();
    let mut rest = markup;
    while let Some((before, after)) = rest.split_once("{{") {
        page.push_str(before);
        let (name, behind) = after.split_once("}}").unwrap_or((after, ""));
        let part = parts.iter().find(|(known, _)| *known == name);
        page.push_str(part.map_or("", |(_, text)| text));
        rest = behind;
    }
    page + rest
}

/// JSON that can stand in a `script` element. Only `<` could end the element (`</script`) or change how the browser
/// reads it (`<!--`), and JSON can have it in strings only, where an escape means the same.
fn embedded(data: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(data)
        .map_err(|error| Error::Numeric { what: "page", reason: format!("its data are no JSON: {error}") })?;
    Ok(json.replace('<', "\\u003c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_their_element() -> Result<()> {
        let data = embedded(&"</script><img src=x onerror=alert(1)><!--")?;
        assert_eq!(data, r#""\u003c/script>\u003cimg src=x onerror=alert(1)>\u003c!--""#);
        let back: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(back, "</script><img src=x onerror=alert(1)><!--");
        Ok(())
    }

    #[test]
    fn what_is_filled_in_is_not_filled_again() {
        let parts = [("data", "{{script}} <b>"), ("script", "run()")];
        assert_eq!(filled("a {{data}} b {{script}} c", &parts), "a {{script}} <b> b run() c");
    }
}
