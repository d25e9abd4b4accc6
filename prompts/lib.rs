//! The lists of concepts and sets of prompt templates that ship with fieldmark, as the text of their files.
//! `README.md` says where they come from.

/// The lists of concepts, by name.
pub static CONCEPT_LISTS: &[(&str, &str)] = &[
    ("cub-birds", include_str!("cub-birds.txt")),
    ("blackbirds", include_str!("blackbirds.txt")),
    ("blackbird-marks", include_str!("blackbird-marks.txt")),
    ("birds-525", include_str!("birds-525.txt")),
    ("bird-parts", include_str!("bird-parts.txt")),
    ("colours", include_str!("colours.txt")),
    ("dogs", include_str!("dogs.txt")),
    ("flowers", include_str!("flowers.txt")),
    ("cars", include_str!("cars.txt")),
    ("aircraft", include_str!("aircraft.txt")),
    ("imagenet", include_str!("imagenet.txt")),
];

/// The sets of templates, by name.
pub static TEMPLATE_SETS: &[(&str, &str)] = &[
    ("plain", include_str!("templates/plain.txt")),
    ("photo", include_str!("templates/photo.txt")),
    ("openai-7", include_str!("templates/openai-7.txt")),
    ("openai-80", include_str!("templates/openai-80.txt")),
    ("birds", include_str!("templates/birds.txt")),
    ("pets", include_str!("templates/pets.txt")),
    ("flowers", include_str!("templates/flowers.txt")),
    ("cars", include_str!("templates/cars.txt")),
    ("aircraft", include_str!("templates/aircraft.txt")),
];
