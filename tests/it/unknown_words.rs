//! Checkpoints that list the words they know: a prompt with any other word has no verdict.

use serde_json::{Value, json};

use crate::sandbox::{PROMPT, Sandbox};

fn note(prompt: &str, words: &str) -> String {
    format!("note: prompt \"{prompt}\" has words that the model does not know: {words}")
}

fn miniature(prompt: &str, arguments: &[&str]) -> (Value, String) {
    let sandbox = Sandbox::new();
    let usual = ["localize", prompt, "wide.png", "--model", "miniature", "--save", "none", "--json"];
    let outcome = sandbox.run(&[&usual, arguments].concat());
    outcome.assert_done();
    (outcome.json().remove(0), outcome.stderr.clone())
}

#[test]
fn the_miniature_has_no_verdict_on_words_that_it_cannot_know() {
    let (found, notes) = miniature("pizza", &[]);
    assert_eq!(
        (&found["evidence"]["verdict"], &found["unknown_words"]),
        (&json!("unknown"), &json!(["pizza"]))
    );
    assert_eq!(notes.trim(), note("pizza", "pizza"));
    let (found, notes) = miniature("A Dog's wing, and a red-winged unicorn!", &[]);
    assert_eq!(found["unknown_words"], json!(["Dog", "unicorn"]));
    assert!(notes.contains("Dog, unicorn"), "{notes}");
    for known in [PROMPT, "The bird's RED wings", "a photo of a red-winged blackbird."] {
        let (found, notes) = miniature(known, &[]);
        assert_ne!(found["evidence"]["verdict"], "unknown", "{known}");
        assert!(found.get("unknown_words").is_none() && notes.is_empty(), "{known}: {notes}");
    }
}

#[test]
fn templates_do_not_count_and_rivals_get_a_note() {
    let (found, notes) = miniature("red wing", &["--template", "graffiti of the {}, 2024"]);
    assert!(found.get("unknown_words").is_none() && notes.is_empty(), "{notes}");
    let (plain, _) = miniature("red wing", &["--against", "blue wing"]);
    let (found, notes) = miniature("red wing", &["--against", "pizza"]);
    assert_eq!(notes.trim(), note("pizza", "pizza"));
    assert_eq!(found["evidence"]["verdict"], plain["evidence"]["verdict"]);
    let (found, notes) = miniature("pizza", &["--against", "red wing", "--tiles", "2"]);
    assert_eq!(
        (notes.trim(), &found["evidence"]["verdict"]),
        (note("pizza", "pizza").as_str(), &json!("unknown"))
    );
    assert_eq!(found["best_tile"]["verdict"], "unknown");
}

#[test]
fn any_checkpoint_may_list_its_words() {
    for model in ["tiny-gelu", "tiny-siglip", "open-clip-quick-gelu"] {
        let sandbox = Sandbox::with_model(model);
        let file = if model == "open-clip-quick-gelu" { "open_clip_config.json" } else { "config.json" };
        let known = sandbox.found("bird wing", &["wide.png", "--save", "none"]);
        sandbox.change_json(file, "/fieldmark", json!({"vocabulary": ["bird", "Wing"]}));
        let listed = sandbox.found("bird wing", &["wide.png", "--save", "none"]);
        assert_eq!(listed["evidence"], known["evidence"], "{model}");
        let other = sandbox.found("bird beak", &["wide.png", "--save", "none"]);
        let found = (&other["evidence"]["verdict"], &other["unknown_words"]);
        assert_eq!(found, (&json!("unknown"), &json!(["beak"])), "{model}");
        sandbox.change_json(file, "/fieldmark", json!({"vocabulary": "bird"}));
        let refused = sandbox.localize("bird", &["wide.png"]);
        refused.assert_refused(&[file, "fieldmark.vocabulary: expected a list of words"]);
    }
}

#[test]
fn comparisons_and_runs_count_what_is_unknown() {
    let sandbox = Sandbox::new();
    let usual = ["--model", "miniature", "--save", "none", "--json"];
    let compared = sandbox.run(&[&["compare", "wide.png", "red wing", "pizza"], &usual[..]].concat());
    compared.assert_done();
    let prompts = &compared.json()[0]["prompts"];
    assert_ne!(prompts[0]["evidence"]["verdict"], "unknown");
    assert_eq!(prompts[1]["evidence"]["verdict"], "unknown");
    assert_eq!(prompts[1]["unknown_words"], json!(["pizza"]));
    assert_eq!(compared.stderr.trim(), note("pizza", "pizza"));
    let run = |prompts: &str, output: &str| {
        sandbox.write("prompts.txt", prompts);
        let outcome =
            sandbox.run(&["batch", "prompts.txt", "wide.png", "--model", "miniature", "--output", output]);
        outcome.assert_done();
        outcome.stdout
    };
    assert!(run("red wing\npizza\n", "with").contains("unknown"));
    assert!(!run("red wing\n", "without").contains("unknown"));
    let page = std::fs::read_to_string(sandbox.path("with/index.html")).unwrap();
    assert!(page.contains("\"verdict\":\"unknown\"") && page.contains("unknown: \"?\""));
}
