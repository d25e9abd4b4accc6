//! One target on one photo: queries are made ready, and answered from one pass through the vision tower.

use candle_core::Tensor;

use crate::{
    attribution::ConceptMap,
    objective::{Strength, references::By},
    prompt::same_words,
    refine::Tiles,
    report::{BestTile, Localization},
    verdict::Presence,
};
use fieldmark_model::{
    error::{Error, Result},
    photo::Photo,
    progress::Warning,
};

use super::{
    Explainer, Found, PhotoSession, Query, Settings, Stopwatch, evidence, ignoring_prompts, judged,
    passes::PassRequest,
    place,
    plan::Plan,
    refuse_repeated,
    rivals::{Candidates, Competitors},
    tower_pass::{PassOptions, TowerPass},
    unknown_words,
};

impl Explainer {
    /// Checks a query before any photo is opened, and embeds its prompts.
    ///
    /// # Errors
    /// If a prompt is empty, a rival is the target itself or given twice, no rival can be found among the concepts,
    /// or a setting is not one of the checkpoint's.
    pub fn check(&self, query: &Query) -> Result<()> {
        self.ask(query).map(drop)
    }

    /// Where the photo shows the target, and what sets it apart from its rivals.
    ///
    /// # Errors
    /// If the query is not sound (see [`check`](Self::check)), or a computation gives no numbers.
    pub fn localize(&self, photo: &Photo, query: &Query) -> Result<Found> {
        Ok(self.localize_all(photo, std::slice::from_ref(query))?.remove(0))
    }

    /// Answers several queries on one photo, in their order. Queries that see the photo alike (the same fit and
    /// detail, affinity and artifacts) share one pass through the vision tower, even with different methods and layers.
    ///
    /// An answer's seconds count the pass that it shares, and only its own head.
    ///
    /// # Errors
    /// As [`localize`](Self::localize), if any of the queries fails.
    pub fn localize_all(&self, photo: &Photo, queries: &[Query]) -> Result<Vec<Found>> {
        let mut session = PhotoSession::new(self, photo);
        let plans: Result<Vec<_>> = queries.iter().map(|query| Plan::new(self, &query.settings)).collect();
        queries.iter().zip(&plans?).for_each(|(query, plan)| session.expect(&query.settings, plan));
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            answers.extend(self.answer_timed(&mut session, query, &[query.settings.strength])?);
        }
        Ok(answers)
    }

    /// Asks every question about one photo under every setting, at every strength that stands beside it: for each
    /// question the answers of all settings, in their order. All share one pass through the vision tower as
    /// in [`localize_all`](Self::localize_all), the questions' own settings count only for how they are phrased,
    /// and the strengths of one setting are recombined as in [`sweep`](Self::sweep).
    ///
    /// # Errors
    /// As [`localize`](Self::localize).
    pub fn localize_grid(
        &self,
        session: &mut PhotoSession,
        questions: &[Query],
        grid: &[(Settings, Vec<Strength>)],
    ) -> Result<Vec<Vec<Found>>> {
        let photo = &*session.photo.clone();
        for (settings, _) in grid {
            session.expect(settings, &Plan::new(self, settings)?);
        }
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            let wording = self.word(question)?;
            let mut found = Vec::new();
            for (settings, strengths) in grid {
                let asked = self.ask_so(wording.clone(), settings)?;
                let (view, pass) = session.of(settings, &asked.plan)?;
                found.extend(self.answer(photo, (view, pass), asked, strengths)?);
            }
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
        PhotoSession::new(self, photo).sweep(query, strengths)
    }

    pub(super) fn answer_timed(
        &self,
        session: &mut PhotoSession,
        query: &Query,
        strengths: &[Strength],
    ) -> Result<Vec<Found>> {
        let mut clock = Stopwatch::start();
        let asked = self.ask(query)?;
        let text = clock.lap();
        let photo = &*session.photo.clone();
        let (view, pass) = session.of(&query.settings, &asked.plan)?;
        clock.lap();
        let mut answers = self.answer(photo, (view, pass), asked, strengths)?;
        let head = clock.lap();
        for found in &mut answers {
            let tiles = found.report.seconds.tower() - pass.seconds.tower();
            found.report.seconds = found.report.seconds.with(text, head - tiles);
        }
        Ok(answers)
    }

    /// Checks a query, resolves its settings and embeds its prompts.
    fn ask<'q>(&'q self, query: &'q Query) -> Result<ResolvedQuery<'q>> {
        // Settings are checked first: a text tower takes long to load.
        Plan::new(self, &query.settings)?;
        self.ask_so(self.word(query)?, &query.settings)
    }

    /// Resolves the settings of a question.
    fn ask_so<'q>(
        &'q self,
        wording: EmbeddedPrompts<'q>,
        settings: &'q Settings,
    ) -> Result<ResolvedQuery<'q>> {
        let plan = Plan::new(self, settings)?;
        let extra = self.texts.embed_extra(self.model(), plan.method, &settings.templates)?;
        Ok(ResolvedQuery { settings, plan, wording, extra })
    }

    /// Checks a query's prompts, embeds them and, where no photo is needed for it, finds its rivals.
    fn word<'q>(&self, query: &'q Query) -> Result<EmbeddedPrompts<'q>> {
        if let Some(same) = query.references.iter().find(|reference| same_words(reference, &query.target)) {
            let reason = "it is the target itself, so it cannot be a rival".to_owned();
            return Err(Error::Prompt { prompt: same.clone(), reason });
        }
        refuse_repeated(&query.references)?;
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
        Ok(EmbeddedPrompts { competitors, candidates: later, neutral, warnings })
    }

    /// What one look says to one query at some strengths; the seconds are those of the vision tower alone.
    fn answer(
        &self,
        photo: &Photo,
        (view, pass): (&PassOptions, &TowerPass),
        asked: ResolvedQuery,
        strengths: &[Strength],
    ) -> Result<Vec<Found>> {
        let ResolvedQuery { settings, plan, wording, extra } = asked;
        let EmbeddedPrompts { mut competitors, candidates, neutral, mut warnings } = wording;
        if let Some(candidates) = candidates {
            let choice = candidates.choose_by(&pass.scores(&candidates.texts)?.logits);
            competitors.add(choice, &candidates)?;
        }
        let competing = competitors.texts.dim(0)?;
        warnings.extend(ignoring_prompts(plan.method, competing));
        let ignored = competing > 1 && !plan.objective.contrasts();
        warnings.extend(ignored.then(|| Warning::RivalsIgnored { aggregate: plan.objective.name() }));
        let texts = match &neutral {
            Some(neutral) => Tensor::cat(&[&competitors.texts, neutral], 0)?,
            None => competitors.texts.clone(),
        };
        let scores = pass.scores(&texts)?;
        let logits = &scores.logits[..competing];
        let rows = StrengthMixes::of(&plan, settings, logits, strengths)?;
        let mixes = |logits: &[f64]| rows.weights(&plan, logits);
        let (targets, extra) = (vec![0; rows.count()], extra.as_ref());
        let plan = &plan;
        let task = PassRequest {
            plan,
            settings,
            view,
            texts: &texts,
            extra,
            competing,
            targets: &targets,
            mixes: &mixes,
        };
        let seen = self.see(photo, pass, &task)?;
        let kind = self.model.config().probability;
        let (target, against) = competitors.scored(&scores, kind);
        let unknown = self.model.unknown_words(&target.prompt)?;
        warnings.extend(unknown_words(&target.prompt, &unknown));
        for rival in against.iter().map(|rival| &rival.score.prompt) {
            warnings.extend(unknown_words(rival, &self.model.unknown_words(rival)?));
        }
        let presence =
            if unknown.is_empty() { self.presence(&scores, 0, competing) } else { Presence::Unknown };
        let found = |((map, strength), best_tile): ((ConceptMap, &Strength), Option<BestTile>)| {
            let setup = plan.in_force(seen.setup.clone(), competing, *strength);
            let report = Localization {
                image: photo.path().into(),
                image_size: [photo.size().width, photo.size().height],
                model: self.name().into(),
                model_bytes: self.name_bytes().map(str::to_owned),
                probability_kind: kind,
                target: target.clone(),
                unknown_words: unknown.clone(),
                best_tile: judged(best_tile, &unknown),
                against: against.clone(),
                passed_over: competitors.passed_over.clone(),
                objective: plan.objective.value(logits, *strength),
                evidence: evidence(&map, presence),
                place: place(&map, &setup, photo),
                setup,
                scale: None,
                files: Default::default(),
                seconds: pass.seconds.and_tower(&seen.seconds),
                concepts: competitors.looked_for.clone(),
                origin: self.origin.clone(),
            };
            Found { report, map, warnings: warnings.clone() }
        };
        let best_tiles = seen.best_tiles.iter().copied().chain(std::iter::repeat(None));
        let maps = rows.maps(seen.maps.clone()).into_iter();
        Ok(maps.zip(strengths).zip(best_tiles).map(found).collect())
    }
}

/// The mixes whose maps give those of every strength.
enum StrengthMixes<'s> {
    /// One a strength.
    Each(&'s [Strength]),
    /// The plain one and what a strength of 1 adds: map(γ) = map(0) + γ (map(1) - map(0)).
    Line(&'s [Strength]),
}

impl<'s> StrengthMixes<'s> {
    /// Two mixes are enough where the map is linear, the objective's weights are a straight line over the strengths,
    /// as the mean's are, and only the map of a mix is needed, unlike with tiles.
    fn of(plan: &Plan, settings: &Settings, logits: &[f64], strengths: &'s [Strength]) -> Result<Self> {
        let weights = |strength| plan.objective.gradient(logits, strength);
        let [plain, slope] = line(plan, logits)?;
        let is_on_line = |strength: &Strength| {
            let line = plain.iter().zip(&slope).map(|(zero, slope)| zero + strength.get() * slope);
            weights(*strength).iter().zip(line).all(|(weight, on_line)| (weight - on_line).abs() < 1e-12)
        };
        let is_worth_it = strengths.len() > 2 && plan.is_linear() && settings.tiles == Tiles::Off;
        if is_worth_it && strengths.iter().all(is_on_line) {
            Ok(Self::Line(strengths))
        } else {
            Ok(Self::Each(strengths))
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Each(strengths) => strengths.len(),
            Self::Line(_) => 2,
        }
    }

    fn weights(&self, plan: &Plan, logits: &[f64]) -> Vec<Vec<f64>> {
        match self {
            Self::Each(strengths) => {
                strengths.iter().map(|strength| plan.objective.gradient(logits, *strength)).collect()
            }
            Self::Line(_) => line(plan, logits).map_or(Vec::new(), Vec::from),
        }
    }

    /// The map of every strength, from the mixes' maps.
    fn maps(&self, maps: Vec<ConceptMap>) -> Vec<ConceptMap> {
        match (self, &maps[..]) {
            (Self::Line(strengths), [plain, slope]) => {
                strengths.iter().map(|strength| plain.plus(strength.get(), slope)).collect()
            }
            _ => maps,
        }
    }
}

/// The objective's weights at strength 0, and how they change up to strength 1.
fn line(plan: &Plan, logits: &[f64]) -> Result<[Vec<f64>; 2]> {
    let plain = plan.objective.gradient(logits, Strength::new(0.0)?);
    let one = plan.objective.gradient(logits, Strength::new(1.0)?);
    let slope = one.iter().zip(&plain).map(|(one, zero)| one - zero).collect();
    Ok([plain, slope])
}

/// One query, made ready.
struct ResolvedQuery<'q> {
    settings: &'q Settings,
    plan: Plan<'q>,
    wording: EmbeddedPrompts<'q>,
    /// What the method asks for beside the prompts.
    extra: Option<Tensor>,
}

/// What a query asks, independent of its settings.
#[derive(Clone)]
struct EmbeddedPrompts<'q> {
    /// The target, the references that were given and those that were found.
    competitors: Competitors,
    /// Among which references are to be found on the photo.
    candidates: Option<Candidates<'q>>,
    /// The neutral prompt's text, where the verdict needs it: [1, embedding].
    neutral: Option<Tensor>,
    warnings: Vec<Warning>,
}
