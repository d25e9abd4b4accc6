# Installs fieldmark @VERSION@: downloads the archive for Windows, checks its SHA-256, and unpacks the program.
#
#   irm @REPOSITORY@/releases/download/v@VERSION@/install.ps1 | iex
#
# FIELDMARK_INSTALL_DIR is where the program goes; %LOCALAPPDATA%\fieldmark\bin otherwise.
& {
    $ErrorActionPreference = 'Stop'
    $ProgressPreference = 'SilentlyContinue'

    $target = 'x86_64-pc-windows-msvc'
    $expected = '@SHA256:x86_64-pc-windows-msvc@'
    $from = if ($env:FIELDMARK_DOWNLOAD_URL) { $env:FIELDMARK_DOWNLOAD_URL } else { '@REPOSITORY@/releases/download/v@VERSION@' }
    $folder = if ($env:FIELDMARK_INSTALL_DIR) { $env:FIELDMARK_INSTALL_DIR } else { Join-Path $env:LOCALAPPDATA 'fieldmark\bin' }

    $work = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    New-Item -ItemType Directory -Path $work | Out-Null
    try {
        $archive = Join-Path $work "fieldmark-$target.zip"
        Invoke-WebRequest -UseBasicParsing -Uri "$from/fieldmark-$target.zip" -OutFile $archive
        $found = (Get-FileHash -Algorithm SHA256 $archive).Hash.ToLower()
        if ($found -ne $expected) {
            throw "fieldmark-$target.zip: expected the SHA-256 $expected, found $found"
        }
        Expand-Archive -Path $archive -DestinationPath $work
        New-Item -ItemType Directory -Force -Path $folder | Out-Null
        Copy-Item -Force (Join-Path $work "fieldmark-$target\fieldmark.exe") (Join-Path $folder 'fieldmark.exe')
    }
    finally {
        Remove-Item -Recurse -Force $work
    }
    Write-Host "installed fieldmark @VERSION@ in $folder"
    $path = [Environment]::GetEnvironmentVariable('Path', 'User')
    if (($path -split ';') -notcontains $folder) {
        [Environment]::SetEnvironmentVariable('Path', "$path;$folder", 'User')
        Write-Host "added $folder to your PATH; open a new terminal to use it"
    }
}
