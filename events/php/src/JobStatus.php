<?php

declare(strict_types=1);

namespace Errands;

/** A job as Errands has it now. */
final class JobStatus
{
    public const WAITING = 'waiting';
    public const SENT = 'sent';
    public const COMPLETED = 'completed';
    public const FAILED = 'failed';
    public const DEADLETTERED = 'deadlettered';
    public const CANCELLED = 'cancelled';
    public const LOST = 'lost';

    /**
     * @param array<string, mixed>  $result
     * @param ?array<string, mixed> $progress
     */
    public function __construct(
        public readonly string $key,
        public readonly string $source,
        public readonly string $id,
        public readonly string $type,
        /** @var self::WAITING|self::SENT|self::COMPLETED|self::FAILED|self::DEADLETTERED|self::CANCELLED|self::LOST */
        public readonly string $state,
        public readonly ?string $subject = null,
        /** When it was accepted, and since when it is in its state. */
        public readonly ?\DateTimeImmutable $acceptedAt = null,
        public readonly ?\DateTimeImmutable $since = null,
        /** When it is sent, or tried again. */
        public readonly ?\DateTimeImmutable $nextAt = null,
        public readonly ?\DateTimeImmutable $endedAt = null,
        /** The attempt that failed last, and why. */
        public readonly int $attempt = 0,
        public readonly ?string $error = null,
        public readonly ?array $progress = null,
        /** The data of its outcome. */
        public readonly array $result = [],
        /** For a browser's EventSource: it says by its ticket who may follow the job, for a day. */
        public readonly ?string $streamUrl = null,
    ) {
    }

    /** @param array<mixed> $fields as Errands tells them; `$sink` is what a stream's address is relative to */
    public static function fromArray(array $fields, string $sink = ''): self
    {
        $text = static fn (string $name): ?string => is_string($fields[$name] ?? null) ? $fields[$name] : null;
        $map = static fn (string $name): ?array => is_array($fields[$name] ?? null) ? $fields[$name] : null;
        $stream = $text('stream');
        return new self(
            key: $text('job') ?? '',
            source: $text('source') ?? '',
            id: $text('id') ?? '',
            type: $text('type') ?? '',
            state: $text('state') ?? '',
            subject: $text('subject'),
            acceptedAt: Callback::time($text('accepted_at')),
            since: Callback::time($text('since')),
            nextAt: Callback::time($text('next_at')),
            endedAt: Callback::time($text('ended_at')),
            attempt: is_int($fields['attempt'] ?? null) ? $fields['attempt'] : 0,
            error: $text('error'),
            progress: $map('progress'),
            result: $map('result') ?? [],
            streamUrl: $stream !== null && str_starts_with($stream, '/') ? $sink . $stream : $stream,
        );
    }

    /** Whether its outcome is still to come. */
    public function isOpen(): bool
    {
        return in_array($this->state, [self::WAITING, self::SENT], true);
    }

    public function isCompleted(): bool
    {
        return $this->state === self::COMPLETED;
    }

    /**
     * The files that the job made, with URLs that are valid now.
     *
     * @return list<Artifact>
     */
    public function artifacts(): array
    {
        return $this->isCompleted() ? Artifact::listed($this->result) : [];
    }

    /** Why it has failed, or was cancelled. */
    public function problem(): ?Problem
    {
        $has = in_array($this->state, [self::FAILED, self::CANCELLED], true) && $this->result !== [];
        return $has ? Problem::fromArray($this->result) : null;
    }

    /** Why it is not completed, in a sentence for a person; of an open one why its last attempt failed. */
    public function reason(): ?string
    {
        if ($this->isCompleted()) {
            return null;
        }
        return $this->problem()?->detail ?: $this->problem()?->title ?? $this->error;
    }
}
