<?php

declare(strict_types=1);

namespace Errands\Jobs;

use Errands\Data\Attachment;
use Errands\Data\Mailbox;
use Errands\Data\MessageCalendar;
use Errands\Data\MessageFill;
use Errands\Job;

/**
 * Send one e-mail to all of `to`, `cc` and `bcc`, or one notification to a configured `target` (chat, push).
 *
 * `html` is the alternative to `text`. With `fill`, subject, text and html are Jinja2 templates.
 */
final class MessageJob extends Job
{
    public const TYPE = 'dev.errands.message.requested.v1';
    protected const MAPS = ['headers'];

    /** @param string $subject one line */
    public function subject(string $subject): static
    {
        return $this->put('subject', $subject);
    }

    public function text(string $text): static
    {
        return $this->put('text', $text);
    }

    public function to(string|Mailbox ...$to): static
    {
        return $this->add('to', ...$to);
    }

    public function cc(string|Mailbox ...$cc): static
    {
        return $this->add('cc', ...$cc);
    }

    /** @param string|Mailbox $bcc those whom no other recipient sees */
    public function bcc(string|Mailbox ...$bcc): static
    {
        return $this->add('bcc', ...$bcc);
    }

    /** @param string $target a name of the installation's TARGETS */
    public function target(string $target): static
    {
        return $this->put('target', $target);
    }

    public function html(string $html): static
    {
        return $this->put('html', $html);
    }

    /** @param string|Mailbox $sender an e-mail address */
    public function sender(string|Mailbox $sender): static
    {
        return $this->put('sender', $sender);
    }

    /** @param string|Mailbox $replyTo an e-mail address */
    public function replyTo(string|Mailbox $replyTo): static
    {
        return $this->put('reply_to', $replyTo);
    }

    /**
     * @param array<string, string>|\stdClass $headers further headers, of those that functions/message/README.md lists:
     *     List-..., X-..., References
     */
    public function headers(array|\stdClass $headers): static
    {
        return $this->put('headers', $headers);
    }

    /**
     * A file sent along: inline, or from the store (the `key` of an earlier job's artefact).
     *
     * One with a `content_id` is shown within the HTML, which names it as `cid:` and the content_id.
     *
     * @param string $name a file's name in any language, no path
     * @param array<string, string> $source
     * @param string|null $mediaType such as image/png; default: application/octet-stream
     * @param string|null $contentId such as logo
     */
    public function attachment(
        string $name,
        array $source,
        ?string $mediaType = null,
        ?string $contentId = null,
    ): static {
        return $this->add('attachments', new Attachment($name, $source, $mediaType, $contentId));
    }

    public function calendar(MessageCalendar $calendar): static
    {
        return $this->put('calendar', $calendar);
    }

    public function fill(MessageFill $fill): static
    {
        return $this->put('fill', $fill);
    }
}
