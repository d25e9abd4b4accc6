//! The settings of a run: every method with every layer; and for each of them the plain map, and the contrasted one of
//! every objective and strength.

use super::{Options, Setting, Sides};
use fieldmark_explain::{
    explain::{Explainer, Layers, Settings},
    objective::Strength,
};
use fieldmark_model::error::{Error, Result};

/// What is asked of every question, and how the answers belong together.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// What is asked: for each method, layer and objective the strengths, of which the first objective's begin with 0.
    pub(super) asked: Vec<(Settings, Vec<Strength>)>,
    /// The settings in the order of the answers.
    pub(super) settings: Vec<Setting>,
}

impl Grid {
    /// Resolves what was asked for this checkpoint. What is listed twice is asked once.
    pub(super) fn new(explainer: &Explainer, options: &Options) -> Result<Self> {
        let contrasts = contrasts(explainer, options)?;
        let mut grid = Self { asked: Vec::new(), settings: Vec::new() };
        for (method, layers) in methods_and_layers(explainer, options)? {
            for (aggregate, strengths) in &contrasts {
                let settings = options
                    .settings
                    .clone()
                    .method(Some(method.clone()))
                    .layers(layers.clone())
                    .aggregate(aggregate.clone());
                grid.add(explainer, settings, strengths)?;
            }
        }
        Ok(grid)
    }

    /// What is asked, one setting after the other.
    pub(super) fn each(&self) -> impl Iterator<Item = Settings> + '_ {
        self.asked.iter().flat_map(|(settings, strengths)| {
            strengths.iter().map(|strength| settings.clone().strength(*strength))
        })
    }

    fn add(&mut self, explainer: &Explainer, settings: Settings, strengths: &[Strength]) -> Result<()> {
        let setup = explainer.setup(&settings)?;
        self.settings.extend(strengths.iter().map(|strength| Setting {
            method: setup.method.clone(),
            layer: setup.layer,
            layers: setup.layers_combine.map_or(Vec::new(), |_| setup.layers.clone()),
            layers_combine: setup.layers_combine,
            strength: strength.get(),
            aggregate: setup.aggregate.clone(),
        }));
        self.asked.push((settings, strengths.to_vec()));
        Ok(())
    }
}

/// Every contrasted setting with the plain one of the same method and layer, as places among the settings. A run of
/// plain maps alone has them on both sides.
pub fn pairs(settings: &[Setting]) -> Vec<Sides<usize>> {
    let mut pairs = Vec::new();
    let mut plain = 0;
    for (place, setting) in settings.iter().enumerate() {
        let is_alone = settings.get(place + 1).is_none_or(|next| next.strength == 0.0);
        if setting.strength == 0.0 {
            plain = place;
        }
        if setting.strength != 0.0 || is_alone {
            pairs.push(Sides { plain, contrasted: place });
        }
    }
    pairs
}

/// For every objective its strengths, each once; those of the first begin with 0, the plain map.
fn contrasts(explainer: &Explainer, options: &Options) -> Result<Vec<(String, Vec<Strength>)>> {
    let mut aggregates = options.aggregates.clone();
    if aggregates.is_empty() {
        aggregates.push(options.settings.aggregate.clone());
    }
    keep_first(&mut aggregates);
    if options.strengths.is_empty() {
        return Err(Error::Option {
            option: "strengths",
            reason: "expected at least one, found none".into(),
        });
    }
    let mut contrasts = Vec::with_capacity(aggregates.len());
    for aggregate in aggregates {
        let settings = options.settings.clone().aggregate(aggregate.clone());
        let objective = explainer.objective(&settings)?;
        let in_force = options.strengths.iter().map(|strength| objective.effective_strength(*strength));
        let mut strengths: Vec<Strength> = in_force.filter(|strength| strength.get() > 0.0).collect();
        if contrasts.is_empty() {
            strengths.insert(0, Strength::new(0.0)?);
        }
        keep_first(&mut strengths);
        contrasts.push((aggregate, strengths));
    }
    contrasts.retain(|(_, strengths)| !strengths.is_empty());
    Ok(contrasts)
}

fn methods_and_layers(explainer: &Explainer, options: &Options) -> Result<Vec<(String, Layers)>> {
    let mut methods = options.methods.clone();
    if methods.is_empty() {
        methods.push(explainer.method(&options.settings)?.name().into());
    }
    keep_first(&mut methods);
    let mut layers = options.layers.clone();
    if layers.is_empty() {
        layers.push(options.settings.layers.clone());
    }
    keep_first(&mut layers);
    let of_method =
        |method: &String| layers.iter().map(|layers| (method.clone(), layers.clone())).collect::<Vec<_>>();
    Ok(methods.iter().flat_map(of_method).collect())
}

fn keep_first<T: PartialEq>(values: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::with_capacity(values.len());
    for value in values.drain(..) {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    *values = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_twice_is_kept_once_in_its_first_place() {
        let mut layers = vec![-1, -2, -1, 3, -2];
        keep_first(&mut layers);
        assert_eq!(layers, [-1, -2, 3]);
    }

    fn of(aggregates: &[&str], strengths: &[f64]) -> Result<Vec<(String, Vec<f64>)>> {
        let strengths: Result<Vec<_>> = strengths.iter().map(|strength| Strength::new(*strength)).collect();
        let aggregates = aggregates.iter().map(|name| (*name).to_owned()).collect();
        let explainer = Explainer::load("miniature")?;
        let options = Options { strengths: strengths?, aggregates, ..Options::default() };
        let found = contrasts(&explainer, &options)?;
        let numbers = |list: Vec<Strength>| list.into_iter().map(Strength::get).collect();
        Ok(found.into_iter().map(|(name, list)| (name, numbers(list))).collect())
    }

    #[test]
    fn the_plain_map_is_asked_for_once_and_objectives_with_strengths_of_their_own() -> Result<()> {
        let (mean, softmax) = ("mean".to_owned(), "softmax".to_owned());
        let expected = [(mean.clone(), vec![0.0, 0.3, 0.6]), (softmax.clone(), vec![1.0])];
        assert_eq!(of(&["mean", "softmax"], &[0.3, 0.6, 0.3])?, expected);
        assert_eq!(of(&["mean"], &[0.0])?, [(mean, vec![0.0])]);
        assert_eq!(of(&["softmax"], &[0.0, 0.6])?, [(softmax, vec![0.0, 1.0])]);
        assert!(of(&["mean"], &[]).is_err());
        Ok(())
    }

    #[test]
    fn contrasted_settings_stand_beside_their_plain_one() {
        let setting = |strength| Setting {
            method: "grad-cam".into(),
            layer: -1,
            layers: Vec::new(),
            layers_combine: None,
            strength,
            aggregate: "mean".into(),
        };
        let of = |strengths: &[f64]| {
            let settings: Vec<_> = strengths.iter().map(|strength| setting(*strength)).collect();
            pairs(&settings).iter().map(|pair| (pair.plain, pair.contrasted)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[0.0, 0.3, 0.6, 0.0, 1.0]), [(0, 1), (0, 2), (3, 4)]);
        assert_eq!(of(&[0.0, 0.0]), [(0, 0), (1, 1)]);
    }
}
