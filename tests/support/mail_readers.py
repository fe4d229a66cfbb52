"""Programs that no one here wrote, which read an e-mail: Python's, PHP's mailparse, Perl's MIME-tools."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Callable, Mapping
from email import message_from_bytes, policy
from types import MappingProxyType
from typing import Any, Final, cast

from tests.support.absent import absent

# name of the file -> its content
Files = dict[str, bytes]

PHP: Final = """
$file = tempnam(sys_get_temp_dir(), 'mail');
file_put_contents($file, stream_get_contents(STDIN));
$mail = mailparse_msg_parse_file($file);
$files = [];
foreach (mailparse_msg_get_structure($mail) as $id) {
    $part = mailparse_msg_get_part($mail, $id);
    $data = mailparse_msg_get_part_data($part);
    if (!isset($data['disposition-filename'])) continue;
    $name = iconv_mime_decode($data['disposition-filename'], 0, 'UTF-8');
    $files[$name] = base64_encode(mailparse_msg_extract_part_file($part, $file, null));
}
unlink($file);
unset($part, $mail);
echo json_encode((object) $files);
"""
PERL: Final = """
use MIME::Parser; use JSON::PP; use MIME::Base64; use Encode;
local $/; my $raw = <STDIN>;
my $parser = MIME::Parser->new; $parser->output_to_core(1); $parser->tmp_to_core(1);
my %files;
sub walk {
    my ($entity) = @_;
    my $name = $entity->head->recommended_filename;
    $files{$name} = encode_base64($entity->bodyhandle->as_string, '') if defined $name && $entity->bodyhandle;
    walk($_) for $entity->parts;
}
walk($parser->parse_data($raw));
print JSON::PP->new->utf8->encode(\\%files);
"""
DKIM: Final = """
use Mail::DKIM::Verifier; use Net::DNS;
no warnings;
*Mail::DKIM::DNS::query = sub {
    my ($name, $type) = @_;
    return $name eq $ARGV[0] ? (Net::DNS::RR->new(owner => $name, type => 'TXT', txtdata => $ARGV[1])) : ();
};
my $verifier = Mail::DKIM::Verifier->new;
local $/; my $raw = <STDIN>;
$verifier->PRINT($raw); $verifier->CLOSE;
print $verifier->result_detail;
"""


def files_by_python(raw: bytes) -> Files:
    """What the standard library's parser finds."""
    parts = [each for each in message_from_bytes(raw, policy=policy.default).walk() if each.get_filename()]
    return {cast(str, each.get_filename()): cast(bytes, each.get_payload(decode=True)) for each in parts}


def files_by_php(raw: bytes) -> Files:
    """What PHP's mailparse finds, which makes an encoded word of what RFC 2231 encodes."""
    return _files(_said(["php", "-r", PHP], raw))


def files_by_perl(raw: bytes) -> Files:
    """What MIME-tools finds, by whom many mail gateways read."""
    return _files(_said(["perl", "-e", PERL], raw))


def dkim_result(raw: bytes, name: str, record: str) -> str:
    """What Mail::DKIM, by whom SpamAssassin judges, says of a signature where the DNS has this record at this name."""
    return _said(["perl", "-e", DKIM, name, record], raw)


READERS: Final[Mapping[str, Callable[[bytes], Files]]] = MappingProxyType(
    {"python": files_by_python, "php": files_by_php, "perl": files_by_perl}
)


def _files(text: str) -> Files:
    found: dict[str, Any] = json.loads(text)
    return {name: b64decode(content) for name, content in found.items()}


def _said(command: list[str], raw: bytes) -> str:
    if shutil.which(command[0]) is None:
        _missing(command[0])
    done = subprocess.run(command, input=raw, capture_output=True, check=False, timeout=60)
    if b"Can't locate" in done.stderr or b"undefined function mailparse" in done.stderr + done.stdout:
        _missing("libmime-tools-perl, libmail-dkim-perl or php-mailparse")
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def _missing(what: str) -> None:
    assert not os.environ.get("CI"), f"CI must have {what}"
    absent(f"{what} is not installed")
