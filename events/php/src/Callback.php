<?php

declare(strict_types=1);

namespace Errands;

/**
 * The outcome of a job, from a callback whose signature was verified (see Webhook).
 *
 * Callbacks repeat and may come late: keep the ids you have dealt with, and let `completed` win over the others. A
 * job that was dead-lettered is kept by Errands and may still complete, once a person has mended and replayed it.
 */
final class Callback
{
    public const COMPLETED = 'completed';
    public const FAILED = 'failed';
    public const DEADLETTERED = 'deadlettered';

    /** @param array<string, mixed> $data */
    private function __construct(
        /** The `webhook-id`: the same for every delivery of this outcome. */
        public readonly string $id,
        public readonly string $type,
        /** `ics`, `image`, `report`, `message`. */
        public readonly string $job,
        /** @var self::COMPLETED|self::FAILED|self::DEADLETTERED */
        public readonly string $outcome,
        /** The id that Client::emit returned. */
        public readonly string $jobId,
        /** The source that the job was emitted with. */
        public readonly ?string $jobSource,
        public readonly ?string $subject,
        /** The request's own, if it had one (CloudEvents' correlation extension). */
        public readonly ?string $correlationId,
        public readonly ?\DateTimeImmutable $time,
        public readonly ?string $traceparent,
        public readonly array $data,
        /** Of a failed job. */
        public readonly ?Problem $problem,
    ) {
    }

    /** Read a body in structured mode. This checks no signature: use Webhook::verify. */
    public static function fromJson(string $body, string $id): self
    {
        try {
            $event = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new InvalidCallback("the body must be JSON: {$error->getMessage()}", 0, $error);
        }
        $event = is_array($event) ? $event : [];
        $type = self::text($event, 'type') ?? throw new InvalidCallback('the event must have a type');
        if (preg_match('/\.([a-z0-9]+)\.(completed|failed|deadlettered)\.v[0-9]+$/D', $type, $parts) !== 1) {
            throw new InvalidCallback("type must be that of an outcome, got '" . substr($type, 0, 100) . "'");
        }
        $jobId = self::text($event, 'jobid')
            ?? throw new InvalidCallback('the event must have a jobid');
        $data = is_array($event['data'] ?? null) ? $event['data'] : [];
        return new self(
            id: $id,
            type: $type,
            job: $parts[1],
            outcome: $parts[2],
            jobId: $jobId,
            jobSource: self::text($event, 'jobsource'),
            subject: self::text($event, 'subject'),
            correlationId: self::text($event, 'correlationid'),
            time: self::time($event['time'] ?? null),
            traceparent: self::text($event, 'traceparent'),
            data: $data,
            problem: $parts[2] === self::FAILED ? Problem::fromArray($data) : null,
        );
    }

    public function isCompleted(): bool
    {
        return $this->outcome === self::COMPLETED;
    }

    public function isFailed(): bool
    {
        return $this->outcome === self::FAILED;
    }

    public function isDeadlettered(): bool
    {
        return $this->outcome === self::DEADLETTERED;
    }

    /**
     * The files that the job made, in the order of the request's outputs; none for a message.
     *
     * @return list<Artifact>
     */
    public function artifacts(): array
    {
        return Artifact::listed($this->data);
    }

    /** Why the job is not completed, in a sentence for a person; null for a completed one. */
    public function reason(): ?string
    {
        return match ($this->outcome) {
            self::COMPLETED => null,
            self::FAILED => $this->problem?->detail ?: $this->problem?->title,
            self::DEADLETTERED => self::text($this->data, 'error')
                ?? 'Every attempt failed; the job is kept for a person to look at.',
        };
    }

    /** @internal */
    public static function time(mixed $text): ?\DateTimeImmutable
    {
        if (!is_string($text) || preg_match('/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d/', $text) !== 1) {
            return null;
        }
        try {
            return new \DateTimeImmutable($text);
        } catch (\Exception) {
            return null;
        }
    }

    /** @param array<mixed> $fields */
    private static function text(array $fields, string $name): ?string
    {
        return is_string($fields[$name] ?? null) && $fields[$name] !== '' ? $fields[$name] : null;
    }
}
