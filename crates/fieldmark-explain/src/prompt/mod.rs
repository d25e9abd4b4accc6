//! How a concept is put into words: templates, and lists of concepts with their synonyms and groups.
//!
//! What ships of both is in the folder `prompts`, whose README describes the files' format, and is compiled in. It
//! knows nothing of models.

mod list;
mod parse;
mod shipped;
mod template;
mod template_set;
mod words;

pub use list::{Concept, ConceptList};
pub use shipped::CONCEPT_LISTS;
pub use template::Template;
pub use template_set::{TEMPLATE_SETS, TemplateSet, templates};
pub(crate) use words::repeated;
pub use words::{key, same_words};
