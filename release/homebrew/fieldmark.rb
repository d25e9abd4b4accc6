class Fieldmark < Formula
  desc "Shows where a CLIP-family model sees a concept in a photograph"
  homepage "@REPOSITORY@"
  version "@VERSION@"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    on_arm do
      url "@REPOSITORY@/releases/download/v@VERSION@/fieldmark-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:aarch64-apple-darwin@"
    end
    on_intel do
      url "@REPOSITORY@/releases/download/v@VERSION@/fieldmark-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:x86_64-apple-darwin@"
    end
  end

  on_linux do
    on_arm do
      url "@REPOSITORY@/releases/download/v@VERSION@/fieldmark-aarch64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:aarch64-unknown-linux-musl@"
    end
    on_intel do
      url "@REPOSITORY@/releases/download/v@VERSION@/fieldmark-x86_64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:x86_64-unknown-linux-musl@"
    end
  end

  def install
    bin.install "fieldmark"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/fieldmark.bash" => "fieldmark"
    zsh_completion.install "completions/_fieldmark"
    fish_completion.install "completions/fieldmark.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/fieldmark --version")
    assert_match "miniature", shell_output("#{bin}/fieldmark models")
  end
end
