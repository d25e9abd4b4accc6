//! Sentences about a scene, and whether they are true of it.
//!
//! A caption is a form (a sentence with slots), the part words chosen for it, and facts: "this part has this
//! colour". It is true of a picture when one bird in it has all the facts and shows all the parts. Names of species
//! are shorthand for facts: a blackbird is a bird with a black body, a red-winged blackbird one that also has a red
//! shoulder patch. A wing fact that only the shoulder patch meets, or the other way round, is left undecided.

use crate::draw::Picture;
use crate::world::{Bird, Colour, Part, Scene, another_colour};
use rand::{Rng, seq::IndexedRandom};

/// Below this share of the picture a part counts as hidden, and what is said about it as undecided.
const SMALLEST_SHARE: f32 = 0.004;

/// Whether a caption is true of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// One bird in the picture has everything that is said.
    True,
    /// No bird has.
    False,
    /// A part is hidden, or the words fit halfway.
    Undecided,
}

/// A part has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The part.
    pub part: Part,
    /// Its colour.
    pub colour: Colour,
}

/// What is claimed beside the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    AtLeastOne,
    Two,
}

/// A sentence and what it claims.
#[derive(Clone, Debug)]
pub struct Caption {
    form: &'static str,
    words: Vec<&'static str>,
    /// The facts named by colour words, in the order of the form's slots.
    pub facts: Vec<Fact>,
    /// Facts that follow from a name.
    implied: Vec<Fact>,
    prefix: &'static str,
    count: Count,
}

/// What is visible of each bird: `visible[bird][part]`.
pub fn visible_parts(scene: &Scene, picture: &Picture) -> Vec<[bool; 8]> {
    let shown = |bird| Part::ALL.map(|part| picture.share(bird, part) >= SMALLEST_SHARE);
    (0..scene.birds.len()).map(shown).collect()
}

impl Caption {
    /// The words.
    pub fn text(&self) -> String {
        let mut text = format!("{}{}", self.prefix, self.form);
        for (slot, fact) in self.facts.iter().enumerate() {
            text = text.replace(&format!("{{{slot}}}"), fact.colour.name());
        }
        for (slot, word) in self.words.iter().enumerate() {
            text = text.replace(&format!("[{slot}]"), word);
        }
        with_articles(&text)
    }

    /// Whether it is true of the picture.
    pub fn truth(&self, scene: &Scene, visible: &[[bool; 8]]) -> Truth {
        if self.count == Count::Two {
            return if scene.birds.len() == 2 { Truth::True } else { Truth::False };
        }
        let mut best = Truth::False;
        for (bird, shown) in scene.birds.iter().zip(visible) {
            match self.truth_of_bird(bird, shown) {
                Truth::True => return Truth::True,
                Truth::Undecided => best = Truth::Undecided,
                Truth::False => {}
            }
        }
        best
    }

    /// Whether it is true of one bird, of which only some parts are seen.
    pub fn truth_of_bird(&self, bird: &Bird, shown: &[bool; 8]) -> Truth {
        let mut truth = Truth::True;
        for fact in self.facts.iter().chain(&self.implied) {
            let met = bird.colour(fact.part) == fact.colour;
            let half_met = match fact.part {
                Part::Wing => bird.colour(Part::Shoulder) == fact.colour,
                Part::Shoulder => bird.colour(Part::Wing) == fact.colour,
                _ => false,
            };
            if !met && !half_met {
                return Truth::False;
            }
            if !met || !shown[fact.part as usize] {
                truth = Truth::Undecided;
            }
        }
        truth
    }

    /// The same sentence with the colour in one slot changed; none when no other colour makes a sentence.
    pub fn recoloured(&self, slot: usize, colour: Colour) -> Option<Caption> {
        let compound = self.form.contains(&format!("{{{slot}}}bird"));
        if compound && !COMPOUND_COLOURS.contains(&colour) {
            return None;
        }
        let mut changed = self.clone();
        changed.facts.get_mut(slot)?.colour = colour;
        Some(changed)
    }

    /// A rival that is false of the picture and differs in one colour; none after some tries.
    pub fn rival(
        &self,
        rng: &mut impl Rng,
        scene: &Scene,
        visible: &[[bool; 8]],
    ) -> Option<(Caption, usize)> {
        if self.facts.is_empty() {
            return None;
        }
        (0..8).find_map(|_| {
            let slot = rng.random_range(0..self.facts.len());
            let changed = self.recoloured(slot, another_colour(rng, &[self.facts[slot].colour]))?;
            (changed.truth(scene, visible) == Truth::False).then_some((changed, slot))
        })
    }

    /// A caption that says something true of this bird, of one of many forms.
    pub fn about(rng: &mut impl Rng, bird: &Bird, shown: &[bool; 8]) -> Caption {
        let part = interesting_part(rng, bird, shown);
        match rng.random_range(0..100) {
            0..48 => Caption::one_part(rng, bird, part),
            48..66 => Caption::part_of_coloured_bird(rng, bird, part),
            66..78 => Caption::whole(rng, bird),
            78..90 => Caption::named(rng, bird, shown),
            90..95 => Caption::part_and_another(rng, bird, part, shown),
            _ => Caption::any_bird(rng),
        }
    }

    /// "a red shoulder patch" and its kind.
    pub fn one_part(rng: &mut impl Rng, bird: &Bird, part: Part) -> Caption {
        let facts = vec![Fact { part, colour: bird.colour(part) }];
        let form = pick(rng, if part == Part::Body { BODY_FORMS } else { PART_FORMS });
        Caption::new(rng, form, facts, &[part])
    }

    /// A caption whose first colour is that of the given part: of the part alone, of a bird of some colour that has
    /// it, or of it and another part.
    pub fn naming(rng: &mut impl Rng, bird: &Bird, part: Part, shown: &[bool; 8]) -> Caption {
        match rng.random_range(0..10) {
            0..4 => Caption::one_part(rng, bird, part),
            4..8 => Caption::part_of_coloured_bird(rng, bird, part),
            _ => Caption::part_and_another(rng, bird, part, shown),
        }
    }

    fn part_of_coloured_bird(rng: &mut impl Rng, bird: &Bird, part: Part) -> Caption {
        if part == Part::Body {
            return Caption::whole(rng, bird);
        }
        let facts = [part, Part::Body].map(|part| Fact { part, colour: bird.colour(part) });
        let compound = COMPOUND_COLOURS.contains(&bird.colour(Part::Body)) && rng.random_bool(0.6);
        let form = pick(rng, if compound { COMPOUND_PART_FORMS } else { BODY_AND_PART_FORMS });
        Caption::new(rng, form, facts.to_vec(), &[part])
    }

    fn whole(rng: &mut impl Rng, bird: &Bird) -> Caption {
        let colour = bird.colour(Part::Body);
        let compound = COMPOUND_COLOURS.contains(&colour) && rng.random_bool(0.5);
        let form = pick(rng, if compound { COMPOUND_FORMS } else { WHOLE_FORMS });
        Caption::new(rng, form, vec![Fact { part: Part::Body, colour }], &[])
    }

    /// A species that this bird is, or else its colour.
    fn named(rng: &mut impl Rng, bird: &Bird, shown: &[bool; 8]) -> Caption {
        let fitting: Vec<Caption> = all_named()
            .into_iter()
            .filter(|caption| caption.truth_of_bird(bird, shown) == Truth::True)
            .collect();
        match fitting.choose(rng) {
            Some(caption) => Caption { prefix: "", ..caption.clone() }.with_prefix(rng),
            None => Caption::whole(rng, bird),
        }
    }

    fn part_and_another(rng: &mut impl Rng, bird: &Bird, first: Part, shown: &[bool; 8]) -> Caption {
        let second = interesting_part(rng, bird, shown);
        if first == second || first == Part::Body || second == Part::Body {
            return Caption::one_part(rng, bird, first);
        }
        let facts = [first, second].map(|part| Fact { part, colour: bird.colour(part) });
        let form = pick(rng, TWO_PART_FORMS);
        Caption::new(rng, form, facts.to_vec(), &[first, second])
    }

    fn any_bird(rng: &mut impl Rng) -> Caption {
        let two = rng.random_bool(0.25);
        let form = pick(rng, if two { PAIR_FORMS } else { BIRD_FORMS });
        let count = if two { Count::Two } else { Count::AtLeastOne };
        Caption { count, ..Caption::new(rng, form, Vec::new(), &[]) }
    }

    /// Joins a form with words for its parts and, now and then, "a photo of".
    fn new(rng: &mut impl Rng, form: &'static str, facts: Vec<Fact>, parts: &[Part]) -> Caption {
        let adjective = form.contains("-[0]");
        let plural_fits = form.starts_with("{0}") || form.contains("with {0}") || form.contains("the ");
        let words = parts.iter().map(|&part| {
            if adjective {
                pick(rng, adjectives(part))
            } else if plural_fits && rng.random_bool(0.3) && !plurals(part).is_empty() {
                pick(rng, plurals(part))
            } else {
                pick(rng, nouns(part))
            }
        });
        let mut words: Vec<&'static str> = words.collect();
        if form.contains("[1]") && words.len() == 1 {
            words.push(pick(rng, nouns(parts[0])));
        }
        let caption =
            Caption { form, words, facts, implied: Vec::new(), prefix: "", count: Count::AtLeastOne };
        caption.with_prefix(rng)
    }

    fn with_prefix(mut self, rng: &mut impl Rng) -> Caption {
        let sentence = self.form.contains(" is ") || self.form.contains(" has ");
        if !sentence && rng.random_bool(0.25) {
            self.prefix = pick(rng, PREFIXES);
        }
        self
    }
}

/// A part that is seen, those in a colour of their own more often, most of all those that seldom have one.
pub fn interesting_part(rng: &mut impl Rng, bird: &Bird, shown: &[bool; 8]) -> Part {
    let mut choices = Vec::new();
    for part in Part::ALL {
        if shown[part as usize] {
            let seldom_alone = matches!(part, Part::Head | Part::Crown | Part::Tail | Part::Wing);
            let copies = if !bird.stands_out(part) {
                1
            } else if seldom_alone {
                6
            } else {
                3
            };
            choices.extend(std::iter::repeat_n(part, copies));
        }
    }
    *choices.choose(rng).unwrap_or(&Part::Body)
}

fn pick(rng: &mut impl Rng, from: &[&'static str]) -> &'static str {
    from.choose(rng).copied().unwrap_or("")
}

/// "a orange" becomes "an orange".
fn with_articles(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let vowel = |word: &&str| word.starts_with(['a', 'e', 'i', 'o', 'u']);
    let article = |(position, &word): (usize, &&str)| {
        if word == "a" && words.get(position + 1).is_some_and(vowel) {
            "an".to_string()
        } else {
            word.to_string()
        }
    };
    words.iter().enumerate().map(article).collect::<Vec<_>>().join(" ")
}

/// Colours with a word of their own for a bird in that colour.
const COMPOUND_COLOURS: &[Colour] = &[Colour::Black, Colour::Blue, Colour::Red];

fn nouns(part: Part) -> &'static [&'static str] {
    match part {
        Part::Body => &["body", "body", "plumage"],
        Part::Head => &["head"],
        Part::Crown => &["crown", "crown", "cap", "crest"],
        Part::Beak => &["beak", "beak", "bill"],
        Part::Breast => &["breast", "breast", "chest", "belly"],
        Part::Wing => &["wing"],
        Part::Shoulder => &[
            "shoulder",
            "shoulder",
            "shoulder patch",
            "shoulder patch",
            "epaulet",
            "epaulette",
            "wing patch",
        ],
        Part::Tail => &["tail"],
    }
}

fn plurals(part: Part) -> &'static [&'static str] {
    match part {
        Part::Body => &["feathers"],
        Part::Wing => &["wings"],
        Part::Shoulder => &["shoulders", "shoulder patches", "epaulets"],
        Part::Tail => &["tail feathers"],
        Part::Breast => &["breast feathers"],
        Part::Head | Part::Crown | Part::Beak => &[],
    }
}

fn adjectives(part: Part) -> &'static [&'static str] {
    match part {
        Part::Body => &["bodied"],
        Part::Head => &["headed"],
        Part::Crown => &["crowned", "capped", "crested"],
        Part::Beak => &["billed", "beaked"],
        Part::Breast => &["breasted", "chested", "bellied"],
        Part::Wing => &["winged"],
        Part::Shoulder => &["winged", "shouldered"],
        Part::Tail => &["tailed"],
    }
}

const PREFIXES: &[&str] = &[
    "a photo of ",
    "a photo of ",
    "a picture of ",
    "a drawing of ",
    "an image of ",
    "a close-up of ",
    "a photograph of ",
    "photo of ",
    "an illustration of ",
];

const PART_FORMS: &[&str] = &[
    "{0} [0]",
    "{0} [0]",
    "{0} [0]",
    "a {0} [0]",
    "a {0} [0]",
    "the {0} [0]",
    "a bird with a {0} [0]",
    "a bird with a {0} [0]",
    "bird with a {0} [0]",
    "bird with {0} [0]",
    "a bird with {0} [0]",
    "the {0} [0] of a bird",
    "{0} [0] of a bird",
    "a {0} [0] on a bird",
    "a bird whose [0] is {0}",
    "the [0] is {0}",
    "[0] is {0}",
    "its [0] is {0}",
    "the bird has a {0} [0]",
    "this bird has a {0} [0]",
    "a {0}-[0] bird",
    "{0}-[0] bird",
    "a bird that has a {0} [0]",
];

const BODY_FORMS: &[&str] = &[
    "{0} [0]",
    "a {0} [0]",
    "a bird with a {0} [0]",
    "bird with {0} [0]",
    "the [0] is {0}",
    "a {0}-[0] bird",
];

const WHOLE_FORMS: &[&str] = &[
    "a {0} bird",
    "{0} bird",
    "the {0} bird",
    "the bird is {0}",
    "this bird is {0}",
    "a bird that is {0}",
    "{0} birds",
];

const COMPOUND_FORMS: &[&str] = &["a {0}bird", "{0}bird", "the {0}bird", "a common {0}bird"];

const BODY_AND_PART_FORMS: &[&str] = &[
    "a {1} bird with a {0} [0]",
    "a {1} bird with a {0} [0]",
    "{1} bird with {0} [0]",
    "the {0} [0] of a {1} bird",
    "{0} [0] of a {1} bird",
    "a {1} bird whose [0] is {0}",
    "a {0}-[0] {1} bird",
    "{0}-[0] {1} bird",
    "{1} bird, {0} [0]",
];

const COMPOUND_PART_FORMS: &[&str] = &[
    "{0}-[0] {1}bird",
    "{0}-[0] {1}bird",
    "a {0}-[0] {1}bird",
    "a {0}-[0] {1}bird",
    "the {0}-[0] {1}bird",
    "{0}-[0] {1}bird [1]",
    "{0}-[0] {1}bird [1]",
    "a {0}-[0] {1}bird's [1]",
    "the [1] of a {0}-[0] {1}bird",
    "[1] of a {0}-[0] {1}bird",
    "a {1}bird with a {0} [1]",
    "{1}bird with {0} [1]",
];

const TWO_PART_FORMS: &[&str] = &[
    "a bird with a {0} [0] and a {1} [1]",
    "bird with {0} [0] and {1} [1]",
    "{0} [0] and {1} [1]",
    "{0} [0], {1} [1]",
];

const BIRD_FORMS: &[&str] = &["a bird", "bird", "the bird", "birds", "a bird on a branch", "a perched bird"];

const PAIR_FORMS: &[&str] = &["two birds", "a pair of birds", "2 birds"];

/// Names of species with the facts that make them.
fn all_named() -> Vec<Caption> {
    use Colour::{Black, Blue, Brown, Orange, Red, Yellow};
    use Part::{Body, Breast, Head, Shoulder, Tail, Wing};
    let table: [(&[&'static str], &[(Part, Colour)]); 6] = [
        (
            &["a rusty blackbird", "rusty blackbird"],
            &[(Body, Black), (Head, Black), (Wing, Brown), (Shoulder, Brown)],
        ),
        (
            &["a crow", "crow", "a raven", "an all-black bird"],
            &[(Body, Black), (Head, Black), (Breast, Black), (Wing, Black), (Shoulder, Black), (Tail, Black)],
        ),
        (&["a cardinal", "cardinal", "a northern cardinal"], &[(Body, Red), (Head, Red), (Wing, Red)]),
        (&["a goldfinch", "goldfinch", "an american goldfinch"], &[(Body, Yellow), (Wing, Black)]),
        (&["a canary", "canary"], &[(Body, Yellow), (Wing, Yellow), (Tail, Yellow)]),
        (&["an eastern bluebird", "eastern bluebird"], &[(Body, Blue), (Breast, Orange)]),
    ];
    let mut captions = Vec::new();
    for (names, facts) in table {
        let implied: Vec<Fact> = facts.iter().map(|&(part, colour)| Fact { part, colour }).collect();
        captions.extend(names.iter().map(|&form| Caption {
            form,
            words: Vec::new(),
            facts: Vec::new(),
            implied: implied.clone(),
            prefix: "",
            count: Count::AtLeastOne,
        }));
    }
    captions
}

/// Any name of a species, true of the picture or not.
pub fn any_name(rng: &mut impl Rng) -> Caption {
    let names = all_named();
    let chosen = names[rng.random_range(0..names.len())].clone();
    chosen.with_prefix(rng)
}

/// Every word that the grammar can use, for the tokenizer.
pub fn vocabulary() -> Vec<String> {
    let mut sentences: Vec<&str> = Vec::new();
    for forms in [
        PREFIXES,
        PART_FORMS,
        BODY_FORMS,
        WHOLE_FORMS,
        COMPOUND_FORMS,
        BODY_AND_PART_FORMS,
        COMPOUND_PART_FORMS,
        TWO_PART_FORMS,
        BIRD_FORMS,
        PAIR_FORMS,
    ] {
        sentences.extend(forms);
    }
    for part in Part::ALL {
        sentences.extend(nouns(part).iter().chain(plurals(part)).chain(adjectives(part)));
    }
    sentences.extend(Colour::ALL.map(Colour::name));
    sentences.extend(["an", "blackbird", "bluebird", "redbird"]);
    let names = all_named();
    sentences.extend(names.iter().map(|caption| caption.form));
    let mut words: Vec<String> = sentences
        .iter()
        .flat_map(|sentence| sentence.split(|letter: char| !letter.is_ascii_alphabetic()))
        .filter(|word| !word.is_empty())
        .map(str::to_string)
        .collect();
    words.sort();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn red_winged() -> Bird {
        let mut rng = crate::world::picture_rng(5, 1);
        let scene =
            std::iter::repeat_with(|| Scene::sample(&mut rng, 1.0)).find(|scene| !scene.birds.is_empty());
        let mut bird = scene.unwrap().birds.remove(0);
        bird.colours = [Colour::Black; 8];
        bird.colours[Part::Shoulder as usize] = Colour::Red;
        bird
    }

    fn caption(form: &'static str, words: &[&'static str], facts: &[(Part, Colour)]) -> Caption {
        let facts = facts.iter().map(|&(part, colour)| Fact { part, colour }).collect();
        Caption {
            form,
            words: words.to_vec(),
            facts,
            implied: Vec::new(),
            prefix: "",
            count: Count::AtLeastOne,
        }
    }

    #[test]
    fn slots_and_articles_are_filled_in() {
        let beak = caption("a bird with a {0} [0]", &["beak"], &[(Part::Beak, Colour::Orange)]);
        assert_eq!(beak.text(), "a bird with an orange beak");
        let facts = [(Part::Shoulder, Colour::Red), (Part::Body, Colour::Black)];
        let species = caption("{0}-[0] {1}bird [1]", &["winged", "shoulder"], &facts);
        assert_eq!(species.text(), "red-winged blackbird shoulder");
    }

    #[test]
    fn a_red_winged_blackbird_is_black_with_a_red_shoulder() {
        let facts = [(Part::Shoulder, Colour::Red), (Part::Body, Colour::Black)];
        let species = caption("a {0}-[0] {1}bird", &["winged"], &facts);
        let (bird, shown) = (red_winged(), [true; 8]);
        assert_eq!(species.truth_of_bird(&bird, &shown), Truth::True);
        let blue = species.recoloured(0, Colour::Blue).unwrap();
        assert_eq!(blue.text(), "a blue-winged blackbird");
        assert_eq!(blue.truth_of_bird(&bird, &shown), Truth::False);
    }

    #[test]
    fn what_is_hidden_or_half_met_is_undecided() {
        let bird = red_winged();
        let mut shown = [true; 8];
        let wing = caption("{0} [0]", &["wing"], &[(Part::Wing, Colour::Red)]);
        assert_eq!(wing.truth_of_bird(&bird, &shown), Truth::Undecided);
        let shoulder = caption("{0} [0]", &["shoulder"], &[(Part::Shoulder, Colour::Red)]);
        shown[Part::Shoulder as usize] = false;
        assert_eq!(shoulder.truth_of_bird(&bird, &shown), Truth::Undecided);
    }

    #[test]
    fn no_compound_is_made_of_a_colour_without_one() {
        let bird = caption("a {0}bird", &[], &[(Part::Body, Colour::Black)]);
        assert!(bird.recoloured(0, Colour::Green).is_none());
        assert_eq!(bird.recoloured(0, Colour::Blue).unwrap().text(), "a bluebird");
    }

    #[test]
    fn every_caption_about_a_bird_is_true_of_it_or_undecided() {
        let (bird, shown) = (red_winged(), [true; 8]);
        let mut rng = crate::world::picture_rng(6, 2);
        for _ in 0..500 {
            let said = Caption::about(&mut rng, &bird, &shown);
            assert!(!said.text().contains(['{', '[', '}', ']']), "{}", said.text());
            assert_ne!(said.truth_of_bird(&bird, &shown), Truth::False, "{}", said.text());
        }
    }
}
