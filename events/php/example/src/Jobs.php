<?php

declare(strict_types=1);

namespace Errands\Example;

use Errands\Artifact;
use Errands\Callback;
use Errands\Job;

/**
 * The jobs of this API: one JSON file each, replaced as a whole; a lock on one file lets one writer in at a time.
 *
 * In a real API this is a table; what it must keep is the same: dedupe by the callback's id and move the state in one
 * transaction, and answer 2xx only when that is on disk.
 *
 * @phpstan-type Record array{id: string, source: string, job: string, title: string, subject: ?string, state: string,
 *     stream: ?string, created: string, updated: string, artifacts: list<array<string, mixed>>, reason: ?string,
 *     errors: list<array{pointer: string, detail: string}>, callbacks: list<string>}
 */
final class Jobs
{
    // A state is left only for one further right: callbacks repeat, and a late one must not undo a later one. A dead
    // letter may still complete, when a person replays it.
    private const ORDER = ['unsent', 'accepted', 'deadlettered', 'failed', 'completed'];

    public function __construct(private readonly string $folder, private readonly string $source)
    {
        if (!is_dir($folder) && !@mkdir($folder, 0700, true) && !is_dir($folder)) {
            throw new \RuntimeException("ERRANDS_EXAMPLE_DATA must be a folder that can be written, got $folder");
        }
    }

    /** Written before the job is emitted: its callback may be faster than the answer to emit. */
    public function open(Job $job, string $title): void
    {
        $name = explode('.', $job->type)[2] ?? $job->type;
        $this->change($this->source, $job->id, fn (?array $found): array => $found ?? [
            'title' => $title,
            'subject' => $job->subject,
        ] + $this->blank($this->source, $job->id, $name));
    }

    /** Errands has it; `$stream` is where a browser hears what befalls it. */
    public function accepted(string $id, ?string $stream): void
    {
        $this->change($this->source, $id, static fn (?array $found): array =>
            $found === null ? [] : ['stream' => $stream] + self::moved($found, 'accepted'));
    }

    /** Errands did not say that it took the job; it may have taken it all the same, and then a callback comes. */
    public function unsent(string $id, string $reason): void
    {
        $this->change($this->source, $id, static fn (?array $found): array =>
            ($found['state'] ?? '') === 'unsent' ? ['reason' => $reason] + $found : $found ?? []);
    }

    /** Take a verified callback; false when this one was taken before. */
    public function receive(Callback $callback): bool
    {
        $new = true;
        $source = $callback->jobSource ?? $this->source;
        $this->change($source, $callback->jobId, function (?array $found) use ($callback, $source, &$new): array {
            // A job that this API does not know is kept as well: it lost its data, or `errands send` sent it.
            $record = $found
                ?? ['subject' => $callback->subject] + $this->blank($source, $callback->jobId, $callback->job);
            $new = !in_array($callback->id, $record['callbacks'], true);
            return $new ? self::after($record, $callback) : $record;
        });
        return $new;
    }

    /** @return ?array<string, mixed> */
    public function find(string $id): ?array
    {
        return $this->load($this->path($this->source, $id));
    }

    /** @return list<array<string, mixed>> the newest first */
    public function newest(int $count): array
    {
        $records = array_filter(array_map($this->load(...), glob("{$this->folder}/job-*.json") ?: []));
        usort($records, static fn (array $a, array $b): int => [$b['created'], $b['id']] <=> [$a['created'], $a['id']]);
        return array_slice($records, 0, $count);
    }

    /**
     * @param array<string, mixed> $record
     * @return array<string, mixed>
     */
    private static function after(array $record, Callback $callback): array
    {
        $record['callbacks'][] = $callback->id;
        $moved = self::moved($record, $callback->outcome);
        if ($moved['state'] !== $callback->outcome) {
            return $record;
        }
        return [
            'artifacts' => array_map(self::artifact(...), $callback->artifacts()),
            'reason' => $callback->reason(),
            'errors' => $callback->problem?->errors ?? [],
        ] + $moved;
    }

    /**
     * @param array<string, mixed> $record
     * @return array<string, mixed>
     */
    private static function moved(array $record, string $state): array
    {
        $further = array_search($state, self::ORDER, true) > array_search($record['state'] ?? '', self::ORDER, true);
        return $further ? ['state' => $state, 'updated' => self::now(), 'reason' => null] + $record : $record;
    }

    /** @return array<string, mixed> */
    private static function artifact(Artifact $artifact): array
    {
        return [
            'name' => $artifact->name,
            'url' => $artifact->url,
            'media_type' => $artifact->mediaType,
            'size_bytes' => $artifact->sizeBytes,
            'width_px' => $artifact->widthPx,
            'height_px' => $artifact->heightPx,
        ];
    }

    /** @return array<string, mixed> */
    private function blank(string $source, string $id, string $job): array
    {
        $now = self::now();
        return [
            'id' => $id, 'source' => $source, 'job' => $job, 'title' => $id, 'subject' => null, 'state' => 'unsent',
            'created' => $now, 'updated' => $now, 'reason' => null, 'stream' => null,
            'artifacts' => [], 'errors' => [], 'callbacks' => [],
        ];
    }

    /** @param \Closure(?array<string, mixed>): array<string, mixed> $step */
    private function change(string $source, string $id, \Closure $step): void
    {
        $lock = fopen("{$this->folder}/lock", 'c');
        if ($lock === false || !flock($lock, LOCK_EX)) {
            throw new \RuntimeException("no lock on {$this->folder}/lock");
        }
        try {
            $path = $this->path($source, $id);
            $found = $this->load($path);
            $changed = $step($found);
            if ($changed !== [] && $changed !== $found) {
                $this->save($path, $changed);
            }
        } finally {
            fclose($lock);
        }
    }

    /** @return ?array<string, mixed> */
    private function load(string $path): ?array
    {
        $json = is_file($path) ? (string) file_get_contents($path) : 'null';
        return json_decode($json, true, flags: JSON_THROW_ON_ERROR);
    }

    /** @param array<string, mixed> $record */
    private function save(string $path, array $record): void
    {
        $json = json_encode($record, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
        $file = fopen("$path.new", 'w');
        if ($file === false || fwrite($file, $json) !== strlen($json) || !fsync($file) || !fclose($file)) {
            throw new \RuntimeException("cannot write $path.new");
        }
        if (!rename("$path.new", $path)) { // a reader sees the old file or the new one, never half of one
            throw new \RuntimeException("cannot replace $path");
        }
    }

    private function path(string $source, string $id): string
    {
        return "{$this->folder}/job-" . hash('sha256', "$source\n$id") . '.json';
    }

    private static function now(): string
    {
        return (new \DateTimeImmutable('now', new \DateTimeZone('UTC')))->format('Y-m-d\TH:i:s.v\Z');
    }
}
