<?php

declare(strict_types=1);

namespace Errands;

/**
 * A job to hand over: an immutable CloudEvents 1.0 request.
 *
 *     Job::report()->template('invoice')->data($invoice)->output('invoice.pdf')->withId('order-1042-invoice');
 *     Job::report(['template' => 'invoice', 'data' => $invoice, 'outputs' => [['name' => 'invoice.pdf']]]);
 *
 * The `id` and the `time` are set once, when the job is made, and stay the same however often it is emitted: Errands
 * knows a repeated job by its source and id. The data's fields are those of `events/schemas/`, of which Jobs\ and Data\
 * are made; Errands checks them.
 */
class Job implements \JsonSerializable
{
    use Jobs\Factories;

    /** Fields of the data that are objects in JSON also when they are empty. */
    protected const MAPS = [];
    // What events/http.py takes as an attribute, percent-encoded: it becomes a header on its way.
    private const ATTRIBUTE_LIMIT_CHARACTERS = 4096;
    private const OWN_METHODS = [
        'id', 'source', 'type', 'time', 'data', 'subject', 'specversion', 'datacontenttype', 'callbackurl', 'expirytime',
        'traceparent', 'tracestate',
    ];
    private const JSON = JSON_THROW_ON_ERROR
        | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION;

    /**
     * @param array<string, mixed>  $data
     * @param array<string, string> $extensions
     */
    final protected function __construct(
        public readonly string $type,
        public readonly array $data,
        public readonly string $id,
        public readonly \DateTimeImmutable $time,
        public readonly ?string $source = null,
        public readonly ?string $subject = null,
        public readonly ?string $callbackUrl = null,
        public readonly ?\DateTimeImmutable $expiresAt = null,
        public readonly ?string $traceparent = null,
        public readonly ?string $tracestate = null,
        /** Further attributes, which come back with the outcome unless they say when the job is done. */
        public readonly array $extensions = [],
    ) {
    }

    /**
     * A job of any type. Strings must be UTF-8. An empty array becomes a JSON list: use `new \stdClass()` for `{}`.
     *
     * @param array<string, mixed> $data
     */
    public static function of(string $type, array $data): self
    {
        return self::made($type, $data);
    }

    /** @param array<string, mixed> $data */
    final protected static function made(string $type, array $data): static
    {
        if ($data !== [] && array_is_list($data)) {
            throw new InvalidJob('data must be a map of names to values, got a list');
        }
        $data = Data\Fields::plain($data);
        foreach (static::MAPS as $name) {
            if (($data[$name] ?? null) === []) {
                $data[$name] = new \stdClass();
            }
        }
        self::refuseWhatIsNotUtf8($data, 'data');
        $now = new \DateTimeImmutable('now', new \DateTimeZone('UTC'));
        return new static(self::attribute('type', $type), $data, self::uuid(), $now);
    }

    /** Set a field of the data; for the builders. */
    final protected function put(string $name, mixed $value): static
    {
        $plain = Data\Fields::plain($value);
        self::refuseWhatIsNotUtf8($plain, "data/$name");
        $isEmptyMap = $plain === [] && in_array($name, static::MAPS, true);
        return $this->with('data', array_merge($this->data, [$name => $isEmptyMap ? new \stdClass() : $plain]));
    }

    /** Add to a list of the data; for the builders. */
    final protected function add(string $name, mixed ...$values): static
    {
        return $this->put($name, [...$this->data[$name] ?? [], ...array_values($values)]);
    }

    /** An id of your own (`order-1042-invoice`) makes the job happen once, even when your request is sent twice. */
    public function withId(string $id): static
    {
        return $this->with('id', self::attribute('id', $id));
    }

    /** Who asks: a URI of your API. With the id it identifies the job. Without one the Client sets its own. */
    public function withSource(string $source): static
    {
        if (preg_match('/[\s<>"{}|\\\\^`]/', $source) === 1) {
            throw new InvalidJob("source must be a URI reference (RFC 3986), got '" . substr($source, 0, 80) . "'");
        }
        return $this->with('source', self::attribute('source', $source));
    }

    /** Your own handle (an order number): it comes back with the outcome. */
    public function withSubject(?string $subject): static
    {
        return $this->with('subject', $subject === null ? null : self::attribute('subject', $subject));
    }

    /** Where the outcome is sent; without it Errands uses the address that it is configured with. */
    public function withCallbackUrl(?string $url): static
    {
        if ($url !== null && preg_match('#^https?://[^\s/?\#]+[^\s]*$#iD', $url) !== 1) {
            throw new InvalidJob("callbackurl must be an http or https URL, got '" . substr($url, 0, 80) . "'");
        }
        return $this->with('callbackUrl', $url === null ? null : self::attribute('callbackurl', $url));
    }

    /** Not worth doing after this time: the job then fails as expired. */
    public function withExpiresAt(?\DateTimeInterface $time): static
    {
        return $this->with('expiresAt', $time === null ? null : \DateTimeImmutable::createFromInterface($time));
    }

    /** When the job was asked for, where that is not now. */
    public function withTime(\DateTimeInterface $time): static
    {
        return $this->with('time', \DateTimeImmutable::createFromInterface($time));
    }

    /** Carry on a trace (W3C Trace Context). A malformed one comes from outside and is left out, as W3C asks. */
    public function withTraceparent(?string $traceparent, ?string $tracestate = null): static
    {
        $valid = preg_match('/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/D', $traceparent ?? '') === 1;
        $carried = $valid && preg_match('/^[\x20-\x7e]{1,512}$/D', $tracestate ?? '') === 1;
        return $this->with('traceparent', $valid ? $traceparent : null)
            ->with('tracestate', $carried ? $tracestate : null);
    }

    /**
     * Done after this long: `'48 hours'`, `'PT48H'`, seconds, a DateInterval.
     *
     * @throws InvalidJob
     */
    public function delay(\DateInterval|string|int $delay): static
    {
        return $this->withExtension('delay', $this->duration('delay', $delay));
    }

    /** Not done before this time. */
    public function at(\DateTimeInterface $time): static
    {
        return $this->withExtension('notbefore', self::rfc3339(\DateTimeImmutable::createFromInterface($time)));
    }

    /** At most one open job has this key: while there is one, another is not taken. */
    public function unique(string $key): static
    {
        return $this->withExtension('uniquekey', $key);
    }

    /** A later job of the same key within this time takes the place of the one that waits. */
    public function debounce(\DateInterval|string|int $wait): static
    {
        return $this->withExtension('debounce', $this->duration('debounce', $wait));
    }

    /** @param 'low'|'normal'|'high' $priority the order in which waiting jobs are let in */
    public function priority(string $priority): static
    {
        return $this->withExtension('priority', $priority);
    }

    /** One of those that Errands lets in by the limit of this key, such as a customer's. */
    public function limit(string $key): static
    {
        return $this->withExtension('limitkey', $key);
    }

    /** An attribute of your own (CloudEvents' `correlationid`, a tenant): it comes back with the outcome. */
    public function withExtension(string $name, ?string $value): static
    {
        if (preg_match('/^[a-z0-9]{1,20}$/D', $name) !== 1 || in_array($name, self::OWN_METHODS, true)) {
            throw new InvalidJob("an extension's name must be of a-z and 0-9, and no attribute that has a method, got $name");
        }
        $others = array_diff_key($this->extensions, [$name => null]);
        return $this->with('extensions', $value === null ? $others : $others + [$name => self::attribute($name, $value)]);
    }

    /** As ISO 8601 has it, in seconds: how long a month is depends on when it begins. */
    private function duration(string $name, \DateInterval|string|int $given): string
    {
        try {
            $interval = match (true) {
                is_int($given) => new \DateInterval("PT{$given}S"),
                is_string($given) && str_starts_with($given, 'P') => new \DateInterval($given),
                is_string($given) => @\DateInterval::createFromDateString($given),
                default => $given,
            };
        } catch (\Exception $error) {
            $interval = false;
        }
        $seconds = $interval === false ? 0 : $this->time->add($interval)->getTimestamp() - $this->time->getTimestamp();
        if ($seconds <= 0) {
            $told = $given instanceof \DateInterval ? 'none' : "'$given'";
            throw new InvalidJob("$name must be a time of a second or more, such as '48 hours' or 'PT48H', got $told");
        }
        return "PT{$seconds}S";
    }

    /**
     * The event as structured mode has it (CloudEvents JSON format 1.0.2); what is not set is left out.
     *
     * @return array<string, mixed>
     */
    public function toCloudEvent(): array
    {
        return $this->attributes() + ['data' => $this->object()];
    }

    /** @return array<string, string> */
    private function attributes(): array
    {
        if ($this->source === null) {
            throw new InvalidJob('a job needs a source: call withSource(), or emit it with a Client');
        }
        $attributes = [
            'specversion' => '1.0',
            'id' => $this->id,
            'source' => $this->source,
            'type' => $this->type,
            'time' => self::rfc3339($this->time),
            'datacontenttype' => 'application/json',
            'subject' => $this->subject,
            'callbackurl' => $this->callbackUrl,
            'expirytime' => $this->expiresAt === null ? null : self::rfc3339($this->expiresAt),
            'traceparent' => $this->traceparent,
            'tracestate' => $this->tracestate,
        ] + $this->extensions;
        return array_filter($attributes, static fn (?string $value): bool => $value !== null);
    }

    /** The body of a structured-mode request. */
    public function toJson(): string
    {
        return self::json($this->toCloudEvent());
    }

    /** The body of a binary-mode request, which toHeaders() go with. */
    public function dataToJson(): string
    {
        return self::json($this->object());
    }

    /** @return array<string, mixed>|\stdClass an object in JSON also when it is empty */
    private function object(): array|\stdClass
    {
        return $this->data === [] ? new \stdClass() : $this->data;
    }

    /**
     * The headers of a binary-mode request; values are percent-encoded (CloudEvents HTTP binding 3.1.3.2).
     *
     * @return list<string>
     */
    public function toHeaders(): array
    {
        $headers = ['Content-Type: application/json'];
        foreach (array_diff_key($this->attributes(), ['datacontenttype' => null]) as $name => $value) {
            $headers[] = "ce-$name: " . self::percentEncoded($value);
        }
        return $headers;
    }

    private static function json(mixed $value): string
    {
        try {
            return json_encode($value, self::JSON);
        } catch (\JsonException $error) {
            throw new InvalidJob("data must be expressible as JSON: {$error->getMessage()}", previous: $error);
        }
    }

    private static function percentEncoded(string $value): string
    {
        $encoded = static fn (array $found): string => '%' . strtoupper(bin2hex($found[0]));
        return (string) preg_replace_callback('/[^\x21\x23\x24\x26-\x7e]/', $encoded, $value);
    }

    /** @return array<string, mixed> */
    public function jsonSerialize(): array
    {
        return $this->toCloudEvent();
    }

    private function with(string $name, mixed $value): static
    {
        return new static(...array_merge(get_object_vars($this), [$name => $value]));
    }

    private static function attribute(string $name, string $value): string
    {
        if ($value === '') {
            throw new InvalidJob("$name must not be empty: leave it out");
        }
        // preg_match gives false for what is not UTF-8
        if (preg_match('/[\x{00}-\x{1f}\x{7f}-\x{9f}]/u', $value) !== 0) {
            throw new InvalidJob("$name must be UTF-8 text without control characters");
        }
        $encoded = strlen(self::percentEncoded($value));
        if ($encoded > self::ATTRIBUTE_LIMIT_CHARACTERS) {
            throw new InvalidJob("$name must be at most 4096 characters when percent-encoded, got $encoded");
        }
        return $value;
    }

    /** json_encode says only that something is not UTF-8; this says what. */
    private static function refuseWhatIsNotUtf8(mixed $value, string $path): void
    {
        if (is_string($value) && preg_match('//u', $value) !== 1) {
            throw new InvalidJob("$path must be UTF-8 text; bytes go as base64 (see Errands\\Input::bytes)");
        }
        if (is_object($value)) {
            $value = get_object_vars($value);
        }
        foreach (is_array($value) ? $value : [] as $key => $inner) {
            self::refuseWhatIsNotUtf8((string) $key, "a name in $path");
            self::refuseWhatIsNotUtf8($inner, "$path/$key");
        }
    }

    private static function rfc3339(\DateTimeImmutable $time): string
    {
        return $time->setTimezone(new \DateTimeZone('UTC'))->format('Y-m-d\TH:i:s.v\Z');
    }

    /** A random id that sorts by time: UUID version 7 (RFC 9562 5.7). */
    private static function uuid(): string
    {
        return Key::shown(substr(pack('J', (int) (microtime(true) * 1000)), 2) . random_bytes(10), 7);
    }
}
