//! What to type instead: the hint that belongs to an error.

use fieldmark::Error;
use fieldmark::error::FormatKind;

/// A hint for the first cause that there is one for.
pub fn hint(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().filter_map(|cause| cause.downcast_ref::<Error>()).find_map(for_error)
}

fn for_error(error: &Error) -> Option<&'static str> {
    match error {
        Error::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Some(
            "check the path: with --prompt every position is a photo, without it prompts come first in `localize` and \
             `batch`, and the photo in `compare` and `report`; a prompt of several words needs quotes",
        ),
        Error::WebAddress { .. } => {
            Some("download the photo first, or pass it on: `curl -L ADDRESS | fieldmark localize PROMPT -`")
        }
        Error::Weights { reason, .. } | Error::ModelNotFound { reason, .. }
            if reason.contains("an adapter that is not merged") =>
        {
            Some("merge the adapter first (merge_and_unload of PEFT), and save the whole model")
        }
        Error::ModelNotFound { .. } => Some(
            "give a Hub id such as openai/clip-vit-base-patch16, a directory with config.json or \
             open_clip_config.json and weights, or miniature",
        ),
        Error::AccessDenied { .. } => {
            Some("accept the model's terms on its page, and set HF_TOKEN to a token that may read it")
        }
        Error::Offline { .. } => {
            Some("run `fieldmark download MODEL` while there is a network, or drop --offline")
        }
        Error::Network { .. } => Some(
            "check the connection (HF_ENDPOINT, HTTPS_PROXY), or use a local directory or --model miniature",
        ),
        Error::LfsPointer { .. } => Some(
            "run `git lfs install` and `git lfs pull` where the checkpoint was cloned, or use `fieldmark download`",
        ),
        Error::Config { .. } | Error::Weights { .. } | Error::Tokenizer { .. } => {
            Some("fetch the checkpoint again, or use another with --model")
        }
        Error::ImageTooLarge { .. } => Some("raise --pixel-limit if the image can be trusted"),
        Error::ImageSideTooLong { .. } => Some("scale the image down, or cut it into parts"),
        Error::UnsupportedFormat { format, kind, .. } => Some(for_format(format, *kind)),
        Error::Image { .. } => Some(
            "get the file again if it is not whole, or convert it to JPEG or PNG if it is of another kind",
        ),
        Error::Write { .. } => Some(
            "check permissions and free space, or choose another directory (--output for results, HF_HOME for \
             checkpoints)",
        ),
        Error::Option { option: "concepts" | "template", .. } => Some(
            "run `fieldmark prompts` for the lists and templates that ship; prompts/README.md describes a list of your \
             own",
        ),
        Error::Run { reason, .. }
            if reason.starts_with("expected the description of an evaluation, found a") =>
        {
            Some("go on with that part with --resume, which writes its run.json again")
        }
        Error::Option { option: "certificates", .. } => {
            Some("check REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE and SSL_CERT_FILE, which name a file in PEM form")
        }
        Error::Option { option: "proxy", .. } => Some("check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"),
        Error::Option { option: "endpoint", .. } => Some("check HF_ENDPOINT"),
        Error::DeviceNotCompiledIn { device: "metal" } => {
            Some("use --device cpu, or build with --features metal on a Mac")
        }
        Error::DeviceNotCompiledIn { .. } => Some(
            "use --device cpu, or build with --features cuda; the book's page on GPUs says what that needs",
        ),
        Error::Device { device: "cuda", .. } => {
            Some("use --device cpu, or see whether nvidia-smi lists a GPU")
        }
        Error::Device { .. } => Some("use --device cpu"),
        _ => None,
    }
}

/// How to make a photo of a file that is not decoded.
fn for_format(format: &str, kind: FormatKind) -> &'static str {
    match (kind, format) {
        (FormatKind::CameraRaw, _) => {
            "develop the raw file into JPEG, PNG or TIFF first, with the camera's software, darktable or RawTherapee \
             (darktable-cli IN OUT.jpg); the preview inside is not the photo and is never used"
        }
        (FormatKind::Picture, "HEIC" | "HEIF") => {
            "convert it to JPEG or PNG first: heif-convert IN OUT.jpg, or magick IN OUT.jpg"
        }
        (FormatKind::Picture, "AVIF") => "convert it to PNG first: avifdec IN OUT.png, or magick IN OUT.png",
        (FormatKind::Picture, "JPEG XL") => "convert it to JPEG or PNG first: djxl IN OUT.png",
        (FormatKind::Picture, _) => "convert it to JPEG or PNG first, for example with magick IN OUT.png",
        (FormatKind::Video, _) => "take frames out of it first: ffmpeg -i IN -vf fps=1 frame-%04d.png",
        (FormatKind::Document, "HTML") => "it is a web page: download the image itself",
        _ => "draw it as pixels first, or take the image out of it; then give that as JPEG or PNG",
    }
}
