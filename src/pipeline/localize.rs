//! One target on one photo: queries are made ready, and answered from one pass through the vision tower.

use candle_core::Tensor;

use crate::{
    attribution::ConceptMap,
    error::{Error, Result},
    objective::{Strength, references::By},
    photo::Photo,
    progress::Warning,
    prompt::same_words,
    report::{Localization, Place, Seconds},
};

use super::{
    Clock, Explainer, Found, Query, evidence,
    look::{Look, View},
    plan::Plan,
    refuse_repeated,
    rivals::{Candidates, Competitors},
};

impl Explainer {
    /// Checks a query before any photo is opened, and embeds its prompts.
    ///
    /// # Errors
    /// If a prompt is empty, a rival is the target itself or there twice, no rival can be found among the concepts,
    /// or a setting is not one of the checkpoint's.
    pub fn check(&self, query: &Query) -> Result<()> {
        self.ask(query).map(drop)
    }

    /// Where the photo shows the target, and what tells it from its rivals.
    ///
    /// # Errors
    /// If the query is not sound (see [`check`](Self::check)), or a computation gives no numbers.
    pub fn localize(&self, photo: &Photo, query: &Query) -> Result<Found> {
        Ok(self.localize_all(photo, std::slice::from_ref(query))?.remove(0))
    }

    /// Answers several queries on one photo, in their order. Queries that see the photo alike (the same layer, fit
    /// and detail) share one pass through the vision tower.
    ///
    /// An answer's seconds count the pass that it shares, and only its own head.
    ///
    /// # Errors
    /// As [`localize`](Self::localize), if any of the queries fails.
    pub fn localize_all(&self, photo: &Photo, queries: &[Query]) -> Result<Vec<Found>> {
        let mut looks: Vec<(View, Look)> = Vec::new();
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let mut clock = Clock::start();
            let asked = self.ask(query)?;
            let text = clock.lap();
            let view = View::new(&query.settings, &asked.plan);
            let known = looks.iter().position(|(other, _)| *other == view);
            let index = known.unwrap_or(looks.len());
            if known.is_none() {
                looks.push((
                    view,
                    Look::new(self.model(), photo, &query.settings, asked.plan.layer, &mut clock)?,
                ));
            }
            let look = &looks[index].1;
            let mut found = self.answer(photo, look, asked, &[query.settings.strength])?.remove(0);
            found.report.seconds = Seconds { text, head: clock.lap(), ..look.seconds };
            answers.push(found);
        }
        Ok(answers)
    }

    /// Answers one query at several strengths, in their order, from one pass through the vision tower; the strength
    /// of the query's settings does not count. Where the method allows, all maps are recombined from two.
    ///
    /// The answers' seconds are those of all of them together.
    ///
    /// # Errors
    /// As [`localize`](Self::localize).
    pub fn sweep(&self, photo: &Photo, query: &Query, strengths: &[Strength]) -> Result<Vec<Found>> {
        let mut clock = Clock::start();
        let asked = self.ask(query)?;
        let text = clock.lap();
        let look = Look::new(self.model(), photo, &query.settings, asked.plan.layer, &mut clock)?;
        let mut answers = self.answer(photo, &look, asked, strengths)?;
        let seconds = Seconds { text, head: clock.lap(), ..look.seconds };
        answers.iter_mut().for_each(|found| found.report.seconds = seconds);
        Ok(answers)
    }

    /// Checks a query, resolves its settings, embeds its prompts and, where no photo is needed for it, finds its
    /// rivals.
    fn ask<'q>(&self, query: &'q Query) -> Result<Asked<'q>> {
        if let Some(same) = query.references.iter().find(|reference| same_words(reference, &query.target)) {
            let reason = "it is the target itself, so it cannot be a rival".to_owned();
            return Err(Error::Prompt { prompt: same.clone(), reason });
        }
        refuse_repeated(&query.references)?;
        let plan = Plan::new(self.model(), &query.settings)?;
        let names = Candidates::names(query)?;
        let given = 1 + query.references.len();
        let prompts = std::iter::once(&query.target).chain(&query.references).map(String::as_str);
        let prompts = self.with_neutral(prompts.chain(names.iter().copied()).collect());
        let (texts, warnings) = self.texts.embed(self.model(), &prompts, &query.settings.templates)?;
        let neutral = given + names.len();
        let neutral = (neutral < prompts.len()).then(|| texts.narrow(0, neutral, 1)).transpose()?;
        let mut competitors = Competitors::given(query, texts.narrow(0, 0, given)?);
        let candidates = Candidates::new(query, names, &texts, &competitors)?;
        let (now, later) = match &query.rivals {
            Some(rivals) if rivals.by == By::Image => (None, candidates),
            _ => (candidates, None),
        };
        if let Some(candidates) = now {
            competitors.add(candidates.choose_by_text(), &candidates)?;
        }
        Ok(Asked { plan, competitors, candidates: later, neutral, warnings })
    }

    /// What one look says to one query at some strengths; the seconds are left to the caller.
    fn answer(&self, photo: &Photo, look: &Look, asked: Asked, strengths: &[Strength]) -> Result<Vec<Found>> {
        let Asked { plan, mut competitors, candidates, neutral, warnings } = asked;
        if let Some(candidates) = candidates {
            let choice = candidates.choose_by(&look.scores(&candidates.texts)?.logits);
            competitors.add(choice, &candidates)?;
        }
        let texts = &competitors.texts;
        let competing = texts.dim(0)?;
        let scores = match &neutral {
            Some(neutral) => look.scores(&Tensor::cat(&[texts, neutral], 0)?)?,
            None => look.scores(texts)?,
        };
        let logits = &scores.logits[..competing];
        let maps = contrasts(look, &plan, texts, logits, strengths)?;
        let presence = self.presence(&scores, 0, competing);
        let (target, against) = competitors.scored(&scores);
        let found = |(map, strength): (ConceptMap, &Strength)| {
            let mut setup = plan.setup.clone().place(map.placement());
            setup.strength = strength.get();
            let report = Localization {
                image: photo.path().into(),
                image_size: [photo.size().width, photo.size().height],
                model: self.name().into(),
                target: target.clone(),
                setup,
                against: against.clone(),
                passed_over: competitors.passed_over.clone(),
                objective: plan.objective.value(logits, *strength),
                evidence: evidence(&map, presence),
                place: Place::of(&map),
                files: Default::default(),
                seconds: Seconds::default(),
            };
            Found { report, map, warnings: warnings.clone() }
        };
        Ok(maps.into_iter().zip(strengths).map(found).collect())
    }
}

/// The contrast's map at every strength.
///
/// Where the method is linear in the gradient and the objective's weights are a straight line over the strengths, as
/// the mean's are, all maps are made of two: map(γ) = map(0) + γ (map(1) - map(0)).
fn contrasts(
    look: &Look,
    plan: &Plan,
    texts: &Tensor,
    logits: &[f64],
    strengths: &[Strength],
) -> Result<Vec<ConceptMap>> {
    let weights = |strength| plan.objective.gradient(logits, strength);
    let rows: Vec<Vec<f64>> = strengths.iter().map(|strength| weights(*strength)).collect();
    let plain = weights(Strength::new(0.0)?);
    let slope: Vec<f64> =
        weights(Strength::new(1.0)?).iter().zip(&plain).map(|(one, zero)| one - zero).collect();
    let is_on_line = |(row, strength): (&Vec<f64>, &Strength)| {
        let line = plain.iter().zip(&slope).map(|(zero, slope)| zero + strength.get() * slope);
        row.iter().zip(line).all(|(weight, on_line)| (weight - on_line).abs() < 1e-12)
    };
    if strengths.len() < 3 || !plan.is_linear() || !rows.iter().zip(strengths).all(is_on_line) {
        return look.maps(plan.method, texts, &rows);
    }
    let basis = look.maps(plan.method, texts, &[plain, slope])?;
    Ok(strengths.iter().map(|strength| basis[0].plus(strength.get(), &basis[1])).collect())
}

/// One query, made ready.
struct Asked<'q> {
    plan: Plan,
    /// The target, the references that were given and those that were found.
    competitors: Competitors,
    /// Among which references are to be found on the photo.
    candidates: Option<Candidates<'q>>,
    /// The neutral prompt's text, where the verdict needs it: [1, embedding].
    neutral: Option<Tensor>,
    warnings: Vec<Warning>,
}
