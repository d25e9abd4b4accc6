//! Lists of concepts, templates, rivals that are found, many prompts on one photo, and strips of strengths.

use std::path::{Path, PathBuf};

use fieldmark::{
    Explainer, Photo, Query, Result, Settings,
    attribution::METHODS,
    explain::{CompareQuery, Pairs, Rivals},
    objective::{Strength, references::By},
    prompt::{CONCEPT_LISTS, ConceptList, templates},
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

const BIRDS: &str = "\
[blackbird < bird]
red-winged blackbird = redwing
rusty blackbird
yellow-headed blackbird
[bird]
crow
goldfinch
eastern bluebird
cardinal
canary
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn explainer() -> Result<Explainer> {
    Explainer::load(root().join("tests/fixtures/models/tiny-gelu"))
}

fn photo() -> Result<Photo> {
    Photo::open(root().join("tests/fixtures/photos/shapes-96x64.png"))
}

fn example(name: &str) -> PathBuf {
    root().join("examples/images").join(name)
}

fn birds(by: By, count: usize) -> Result<Rivals> {
    Ok(Rivals::among(ConceptList::parse(BIRDS)?).by(by).count(count))
}

/// The cosine of two texts.
fn cosine(explainer: &Explainer, one: &str, other: &str) -> Result<f64> {
    let tokens = [explainer.model().tokenize(one)?, explainer.model().tokenize(other)?];
    let rows = explainer.model().embed_texts(&tokens)?.to_vec2::<f32>()?;
    Ok(rows[0].iter().zip(&rows[1]).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum())
}

fn assert_near(found: &[f32], expected: &[f32]) {
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    let error = length(&mut found.iter().zip(expected).map(|(one, other)| one - other));
    let size = length(&mut expected.iter().copied());
    assert_eq!(found.len(), expected.len());
    assert!(error < 1e-4 * size, "off by {error} of {size}");
}

// Lists and templates.

#[test]
fn the_example_of_the_readme_is_a_list() -> Result<()> {
    let page = std::fs::read_to_string(root().join("prompts/README.md")).unwrap();
    let example: Vec<_> = page
        .lines()
        .skip_while(|line| !line.starts_with("    # Everything"))
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(str::trim_start)
        .collect();
    let list = ConceptList::parse(&example.join("\n"))?;
    assert_eq!(list.names(), ["red-winged blackbird", "rusty blackbird", "reed", "marsh wren"]);
    assert_eq!(list.groups_of("redwing"), ["blackbird", "bird"]);
    assert_eq!(list.groups_of("reed"), [""; 0]);
    assert_eq!((list.about(), list.templates().len()), (Some("Birds of the marsh"), 2));
    Ok(())
}

#[test]
fn the_readme_has_every_list_that_ships() {
    let page = std::fs::read_to_string(root().join("prompts/README.md")).unwrap();
    for (name, _) in CONCEPT_LISTS {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_field_mark_belongs_to_a_bird_of_the_list() -> Result<()> {
    let (marks, birds) = (ConceptList::open("blackbird-marks")?, ConceptList::open("blackbirds")?);
    for mark in marks.concepts() {
        let groups = marks.groups_of(&mark.name);
        assert!(birds.find(groups[0]).is_some(), "{}", mark.name);
        assert_eq!(groups[1..], birds.groups_of(groups[0]), "{}", mark.name);
    }
    Ok(())
}

#[test]
fn random_lists_read_back_as_they_are_written() -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..200 {
        let groups = ["", "< a", "< a < b", "< c"];
        let mut text = String::new();
        for number in 0..random.random_range(1..30) {
            let heading = ["", "", "", "[]\n", "[a]\n", "[a < b]\n", "[c < d]\n", "# x\n\n"];
            text.push_str(heading.choose(&mut random).copied().unwrap_or_default());
            let synonyms = ["".into(), format!(" = other {number}"), format!("=o{number}=p{number}")];
            let group = groups.choose(&mut random).copied().unwrap_or_default();
            text.push_str(&format!(
                "Concept  {number}{} {group}\n",
                synonyms.choose(&mut random).cloned().unwrap_or_default()
            ));
        }
        // A group may be said to belong to one other only, so not every text is a list.
        if let Ok(list) = ConceptList::parse(&text) {
            assert_eq!(ConceptList::parse(&list.to_string())?, list, "{text}");
        }
    }
    Ok(())
}

#[test]
fn no_text_is_too_strange_to_be_parsed_or_refused() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let letters =
        ['a', 'b', 'É', ' ', '\t', '\n', '\n', '=', '<', '[', ']', '@', '#', '{', '}', '\u{feff}', '\0'];
    let (mut parsed, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let length = random.random_range(0..25);
        let text: String = (0..length).filter_map(|_| letters.choose(&mut random)).collect();
        match ConceptList::parse(&text) {
            Ok(list) => {
                parsed += 1;
                assert_eq!(ConceptList::parse(&list.to_string()).ok().as_ref(), Some(&list), "{text:?}");
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().starts_with("concepts: "), "{error}");
            }
        }
    }
    assert!(parsed > 1000 && refused > 1000, "{parsed} and {refused}");
}

#[test]
fn several_templates_are_averaged_after_each_is_a_unit_vector() -> Result<()> {
    let explainer = explainer()?;
    let similarity = |texts: &[&str]| -> Result<f64> {
        let sets: Result<Vec<_>> = texts.iter().map(|text| templates(text)).collect();
        let settings = Settings::default().templates(sets?.concat());
        Ok(explainer.localize(&photo()?, &Query::new("reed").with(settings))?.report.target.similarity)
    };
    // The unit vectors t1, t2 and t3 have the mean (t1 + t2 + t3) / 3. Made a unit vector, its cosine with the photo is
    // the sum of theirs over |t1 + t2 + t3|, whose square is 3 + 2 (t1·t2 + t1·t3 + t2·t3).
    let (texts, filled) = (["photo", "{}", "the {} here"], ["a photo of a reed.", "reed", "the reed here"]);
    let mut square = 3.0;
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        square += 2.0 * cosine(&explainer, filled[one], filled[other])?;
    }
    let mut sum = 0.0;
    for text in texts {
        sum += similarity(&[text])?;
    }
    let (found, expected) = (similarity(&texts)?, sum / f64::sqrt(square));
    assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
    assert!((similarity(&["openai-7"])? - similarity(&["photo"])?).abs() > 1e-6);
    Ok(())
}

// Rivals.

#[test]
fn rivals_by_text_are_the_most_similar_texts() -> Result<()> {
    let explainer = explainer()?;
    let query = Query::new("redwing").with_rivals(birds(By::Text, 3)?);
    let found = explainer.localize(&photo()?, &query)?.report;
    let mut expected = Vec::new();
    for name in ConceptList::parse(BIRDS)?.names().into_iter().skip(1) {
        expected.push((cosine(&explainer, "redwing", &name)?, name));
    }
    expected.sort_by(|one, other| other.0.total_cmp(&one.0));
    let passed = expected.iter().take_while(|(cosine, _)| *cosine > 0.95).count();
    let chosen: Vec<_> = found.against.iter().map(|rival| rival.score.prompt.clone()).collect();
    let names = |range: std::ops::Range<usize>| {
        expected[range].iter().map(|(_, name)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(chosen, names(passed..passed + 3));
    for (place, rival) in found.against.iter().enumerate() {
        let why = rival.chosen.expect("it was found");
        assert_eq!((why.by, why.rank), (By::Text, passed + place + 1));
        assert!((why.similarity - expected[passed + place].0).abs() < 1e-5);
    }
    assert_eq!(found.passed_over.len(), passed);
    Ok(())
}

#[test]
fn near_synonyms_are_passed_over_and_reported() -> Result<()> {
    let explainer = explainer()?;
    let list = ConceptList::parse(BIRDS)?;
    let all = Query::new("crow").with_rivals(Rivals::among(list).count(9).synonym_threshold(1.0));
    let all = explainer.localize(&photo()?, &all)?.report.against;
    assert_eq!(all.len(), 7, "all but the target");
    let cosines: Vec<f64> = all.iter().filter_map(|rival| rival.chosen).map(|why| why.similarity).collect();
    let synonym_threshold = (cosines[0] + cosines[1]) / 2.0;
    let query = Query::new("crow").with_rivals(birds(By::Text, 1)?.synonym_threshold(synonym_threshold));
    let found = explainer.localize(&photo()?, &query)?.report;
    assert_eq!(found.against[0].score.prompt, all[1].score.prompt);
    assert_eq!(found.against[0].chosen.map(|why| why.rank), Some(2));
    assert_eq!(found.passed_over[0].prompt, all[0].score.prompt);
    let query = Query::new("crow").with_rivals(birds(By::Text, 1)?.synonym_threshold(-1.0));
    assert!(explainer.check(&query).is_err(), "nothing is left");
    Ok(())
}

#[test]
fn rivals_by_image_are_those_that_fit_each_photo_best() -> Result<()> {
    let explainer = Explainer::load("miniature")?;
    let query = Query::new("red-winged blackbird").with_rivals(birds(By::Image, 2)?);
    let mut chosen = Vec::new();
    for name in ["bluebird.png", "cardinal-and-goldfinch.png"] {
        let photo = Photo::open(example(name))?;
        let lineup = CompareQuery::default().concepts(ConceptList::parse(BIRDS)?.names());
        let ranking = explainer.rank(&photo, &lineup, &Settings::default())?.report.ranking;
        let best = ranking.iter().filter(|ranked| ranked.score.prompt != "red-winged blackbird");
        let best: Vec<_> = best.take(2).map(|ranked| ranked.score.prompt.clone()).collect();
        let found = explainer.localize(&photo, &query)?.report.against;
        assert_eq!(found.iter().map(|rival| rival.score.prompt.clone()).collect::<Vec<_>>(), best);
        assert!(found.iter().all(|rival| rival.chosen.is_some_and(|why| why.by == By::Image)));
        chosen.push(best);
    }
    assert_eq!(chosen[0][0], "eastern bluebird");
    assert!(chosen[1].contains(&"cardinal".to_owned()), "{chosen:?}");
    Ok(())
}

#[test]
fn rivals_by_group_are_what_the_target_belongs_to() -> Result<()> {
    let explainer = explainer()?;
    let rivals = |target: &str, count| -> Result<Vec<String>> {
        let query = Query::new(target).with_rivals(birds(By::Group, count)?);
        let found = explainer.localize(&photo()?, &query)?.report.against;
        Ok(found.into_iter().map(|rival| rival.score.prompt).collect())
    };
    assert_eq!(rivals("redwing", 1)?, ["blackbird"]);
    assert_eq!(rivals("redwing", 9)?, ["blackbird", "bird"]);
    assert_eq!(rivals("rusty blackbird wing", 2)?, ["rusty blackbird", "blackbird"]);
    assert!(rivals("reed", 1).is_err());
    Ok(())
}

#[test]
fn rivals_that_are_given_and_found_are_never_the_same() -> Result<()> {
    let explainer = explainer()?;
    let query = Query::new("crow").against(["REDWING", "reed"]).with_rivals(birds(By::Text, 9)?);
    let found = explainer.localize(&photo()?, &query)?.report.against;
    let prompts: Vec<_> = found.iter().map(|rival| rival.score.prompt.as_str()).collect();
    assert_eq!(prompts[..2], ["REDWING", "reed"]);
    assert!(!prompts.contains(&"red-winged blackbird") && !prompts.contains(&"crow"), "{prompts:?}");
    assert!(found[..2].iter().all(|rival| rival.chosen.is_none()));
    let sum: f64 = found.iter().map(|rival| rival.score.probability).sum();
    assert!(sum < 1.0);
    // Found or given, a rival counts the same.
    let given = Query::new("crow").against(prompts);
    let (given, query) = (explainer.localize(&photo()?, &given)?, explainer.localize(&photo()?, &query)?);
    assert_near(query.map.values(), given.map.values());
    Ok(())
}

#[test]
fn what_cannot_be_meant_is_refused() -> Result<()> {
    let explainer = explainer()?;
    let refused = |rivals: Rivals| explainer.check(&Query::new("crow").with_rivals(rivals)).is_err();
    assert!(refused(birds(By::Text, 0)?));
    for synonym_threshold in [1.5, -2.0, f64::NAN] {
        assert!(refused(birds(By::Image, 3)?.synonym_threshold(synonym_threshold)));
    }
    assert!(refused(Rivals::among(ConceptList::parse("Crow")?)), "only the target itself");
    Ok(())
}

// Strengths.

#[test]
fn a_sweep_is_every_strength_alone() -> Result<()> {
    let explainer = explainer()?;
    let strengths: Result<Vec<_>> = [0.0, 0.3, 0.6, 1.0, 2.5].into_iter().map(Strength::new).collect();
    let strengths = strengths?;
    // The score-cams run the model for every channel, and know no strengths.
    for method in METHODS.iter().filter(|method| !method.name().contains("score-cam")) {
        let vision = &explainer.model().config().vision;
        let is_able =
            |layer: i64| method.needs(vision, Some((vision.tower.layers as i64 + layer) as usize)).is_ok();
        let cases = [("mean", -1), ("mean", -2), ("weighted", -1), ("softmax", -1)];
        for (aggregate, layer) in cases.into_iter().filter(|(_, layer)| is_able(*layer)) {
            let settings = Settings::default()
                .method(Some(method.name().into()))
                .aggregate(aggregate.into())
                .layer(Some(layer));
            let query = Query::new("crow").against(["reed", "rusty blackbird"]).with(settings.clone());
            let swept = explainer.sweep(&photo()?, &query, &strengths)?;
            for (strength, swept) in strengths.iter().zip(&swept) {
                let settings = settings.clone().strength(*strength);
                let alone = explainer.localize(&photo()?, &query.clone().with(settings))?;
                assert_near(swept.map.values(), alone.map.values());
                assert_eq!(swept.report.setup, alone.report.setup);
                assert!((swept.report.objective - alone.report.objective).abs() < 1e-9);
            }
        }
    }
    Ok(())
}

// Many prompts.

#[test]
fn a_list_is_ranked_and_its_best_get_maps() -> Result<()> {
    let explainer = explainer()?;
    let concepts = ConceptList::open("bird-parts")?.names();
    let prompts = vec!["reed".to_owned(), "Tail".to_owned()];
    let lineup = CompareQuery::default().prompts(prompts).concepts(concepts).top(3);
    let plain = Settings::default().strength(Strength::new(0.0)?);
    let compared = explainer.rank(&photo()?, &lineup, &plain)?;
    let report = &compared.report;
    assert_eq!(report.ranking.len(), 25, "24 parts and the reed; the tail competes once");
    assert!(report.ranking.windows(2).all(|pair| pair[0].score.logit >= pair[1].score.logit));
    assert!(report.ranking.iter().enumerate().all(|(place, ranked)| ranked.rank == place + 1));
    let sum: f64 = report.ranking.iter().map(|ranked| ranked.score.probability).sum();
    assert!((sum - 1.0).abs() < 1e-9);
    let best =
        report.ranking.iter().filter(|ranked| !["reed", "Tail"].contains(&ranked.score.prompt.as_str()));
    let best: Vec<_> = best.take(3).map(|ranked| ranked.score.prompt.as_str()).collect();
    let mapped: Vec<_> = report.prompts.iter().map(|prompt| prompt.score.prompt.as_str()).collect();
    assert_eq!(mapped[..2], ["reed", "Tail"]);
    assert_eq!(mapped[2..], best);
    for (prompt, map) in mapped.iter().zip(&compared.maps) {
        let query = Query::new(*prompt).with(plain.clone());
        assert_near(map.values(), explainer.localize(&photo()?, &query)?.map.values());
    }
    Ok(())
}

#[test]
fn every_pair_is_the_contrast_of_one_against_the_other() -> Result<()> {
    let explainer = explainer()?;
    let prompts = ["reed", "crow", "marsh wren"].map(str::to_owned).to_vec();
    let lineup = CompareQuery::default().prompts(prompts.clone()).pairs(Pairs::All);
    let one = Strength::new(1.0)?;
    for method in METHODS {
        for strength in [0.0, 0.6] {
            let method = Some(method.name().to_owned());
            let settings = Settings::default().method(method.clone()).strength(Strength::new(strength)?);
            let compared = explainer.rank(&photo()?, &lineup, &settings)?;
            assert_eq!(compared.report.matrix.len(), 6);
            for (pair, map) in compared.report.matrix.iter().zip(&compared.pairs) {
                let settings = Settings::default().method(method.clone()).strength(one);
                let query = Query::new(&pair.prompt).against([&pair.against]).with(settings);
                let alone = explainer.localize(&photo()?, &query)?;
                assert_near(map.values(), alone.map.values());
                assert!((pair.difference - alone.report.objective).abs() < 1e-5);
                assert!(
                    (pair.positive - alone.report.evidence.positive).abs() < 1e-4 * pair.positive.max(1.0)
                );
                assert_eq!(pair.peak, alone.report.place.peak);
            }
            assert!(compared.matrix(&photo()?, 2).is_some());
        }
    }
    Ok(())
}

#[test]
fn pairs_are_bounded_and_something_must_compete() -> Result<()> {
    let explainer = explainer()?;
    let concepts = (0..65).map(|number| format!("bird {number}")).collect();
    let lineup = CompareQuery::default().concepts(concepts).top(65).pairs(Pairs::All);
    let error = explainer.rank(&photo()?, &lineup, &Settings::default()).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("matrix: expected at most 64 prompts with a map, found 65"));
    assert!(explainer.rank(&photo()?, &CompareQuery::default(), &Settings::default()).is_err());
    Ok(())
}
