//! A `tokenizer.json` becomes the tokenizers library's own tokenizer, part by part: what no prompt needs (the decoder,
//! truncation, padding but for its token) is left out, and the claims of the rest are checked first.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, TokenizerImpl, models,
};

use super::{claims, normalizer::Steps, pieces, words::Rules};
use crate::guard::guarded;

/// The library's tokenizer, with rules that are within limits.
pub(super) type Splitter = TokenizerImpl<ModelWrapper, Steps, Rules, PostProcessorWrapper, DecoderWrapper>;

/// The only version that there is.
const VERSION: &str = "1.0";
/// The most added tokens, and the most bytes in them, normalized or not.
const MOST_ADDED: usize = 1 << 18;
const MOST_ADDED_BYTES: usize = 1 << 20;

/// The parts of the file.
#[derive(Deserialize)]
pub(super) struct File<'a> {
    version: Option<String>,
    #[serde(borrow)]
    model: &'a RawValue,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    padding: Option<Value>,
}

impl<'a> File<'a> {
    /// Reads the parts.
    ///
    /// # Errors
    /// If they are not those of a tokenizer.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let file: Self = serde_json::from_slice(bytes).map_err(|source| source.to_string())?;
        match &file.version {
            Some(version) if version != VERSION => {
                Err(format!("version: expected {VERSION:?}, found {version:?}"))
            }
            _ => Ok(file),
        }
    }

    /// The token that fills up a text.
    pub(super) fn pad_id(&self) -> Result<Option<u32>, String> {
        let Some(padding) = &self.padding else { return Ok(None) };
        let id = &padding["pad_id"];
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        number.map(Some).ok_or_else(|| format!("padding.pad_id: expected a token id, found {id}"))
    }

    /// The tokenizer, with `first` before its own normalizer.
    ///
    /// # Errors
    /// If a part is broken, or claims more than the limits.
    pub(super) fn build(self, first: Vec<NormalizerWrapper>) -> Result<Splitter, String> {
        let mut splitter = Splitter::new(model(self.model.get())?);
        let mut steps = Steps::default();
        let own: Option<NormalizerWrapper> = rules("normalizer", self.normalizer)?;
        first.into_iter().chain(own).try_for_each(|step| steps.push(step))?;
        let added = check_added(self.added_tokens, &steps)?;
        let broken = |source: tokenizers::Error| source.to_string();
        splitter.with_normalizer(Some(steps)).map_err(broken)?;
        if let Some(rule) = rules("pre_tokenizer", self.pre_tokenizer)? {
            let mut all = Rules::default();
            all.push(rule)?;
            splitter.with_pre_tokenizer(Some(all));
        }
        splitter.with_post_processor(rules::<PostProcessorWrapper>("post_processor", self.post_processor)?);
        guarded(|| splitter.add_tokens(added))
            .map_err(|panic| format!("added_tokens: {panic}"))?
            .map_err(|source| format!("added_tokens: {source}"))?;
        Ok(splitter)
    }
}

/// One set of rules, once its claims are checked.
fn rules<T: serde::de::DeserializeOwned>(field: &str, rules: Option<Value>) -> Result<Option<T>, String> {
    let Some(rules) = rules else { return Ok(None) };
    claims::check(field, &rules)?;
    let parsed = guarded(|| serde_json::from_value(rules)).map_err(|panic| format!("{field}: {panic}"))?;
    parsed.map(Some).map_err(|source| format!("{field}: {source}"))
}

/// How words become pieces. Each kind is read by its own reader: the library's, which asks for the kind first, copies
/// everything twice.
fn model(text: &str) -> Result<ModelWrapper, String> {
    let parse = || -> Result<ModelWrapper, String> {
        pieces::check(text)?;
        let mut value: Value = serde_json::from_str(text).map_err(|source| source.to_string())?;
        let fields = value.as_object_mut().ok_or("expected an object")?;
        // Pieces that are left out at random are for training.
        fields.remove("dropout");
        let kind = fields.remove("type");
        let model = match kind.as_ref().and_then(Value::as_str) {
            Some("BPE") => models::bpe::BPE::deserialize(value).map(ModelWrapper::BPE),
            Some("Unigram") => models::unigram::Unigram::deserialize(value).map(ModelWrapper::Unigram),
            Some("WordPiece") => {
                models::wordpiece::WordPiece::deserialize(value).map(ModelWrapper::WordPiece)
            }
            Some("WordLevel") => {
                models::wordlevel::WordLevel::deserialize(value).map(ModelWrapper::WordLevel)
            }
            Some(other) => {
                return Err(format!("type: expected BPE, Unigram, WordPiece or WordLevel, found {other:?}"));
            }
            None => ModelWrapper::deserialize(value),
        };
        model.map_err(|source| source.to_string())
    };
    let parsed = guarded(parse).map_err(|panic| format!("model: {panic}"))?;
    parsed.map_err(|reason| format!("model: {reason}"))
}

/// The added tokens, once they are counted as they are and as they are looked for.
fn check_added(tokens: Vec<AddedToken>, steps: &Steps) -> Result<Vec<AddedToken>, String> {
    let count = tokens.len();
    if count > MOST_ADDED {
        return Err(format!("added_tokens: expected at most {MOST_ADDED}, found {count}"));
    }
    let mut bytes = 0;
    for token in &tokens {
        bytes += token.content.len();
        if token.normalized && bytes <= MOST_ADDED_BYTES {
            let normalized = guarded(|| steps.apply(&token.content)).map_err(|panic| panic.to_string());
            let normalized = normalized.and_then(|text| text.map_err(|source| source.to_string()));
            bytes += normalized.map_err(|reason| format!("added_tokens: {reason}"))?.len();
        }
        if bytes > MOST_ADDED_BYTES {
            return Err(format!("added_tokens: expected at most {MOST_ADDED_BYTES} bytes, found more"));
        }
    }
    Ok(tokens)
}
