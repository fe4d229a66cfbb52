<?php

declare(strict_types=1);

namespace Errands;

/** A step of a flow that the API is asked to do itself, from a request whose signature was verified (see Steps). */
final class Step
{
    private function __construct(
        /** The same for every attempt at this step. */
        public readonly string $key,
        /** What is to be done, such as `create-account`. */
        public readonly string $name,
        public readonly mixed $data,
        /** Where this step undoes another one, that one's name; `data` is then what that one was given. */
        public readonly ?string $undoes,
        /** What the other step came to; null where it is not known whether it was done. */
        public readonly mixed $result,
        /** The flow's own id, and the number of the step in it: for an answer that comes later. */
        public readonly string $flow,
        public readonly int $number,
        public readonly ?string $subject,
    ) {
    }

    /**
     * Read a body in structured mode. This checks no signature: use Steps.
     *
     * @throws InvalidCallback
     */
    public static function fromJson(string $body, string $key): self
    {
        try {
            $event = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new InvalidCallback("the body must be JSON: {$error->getMessage()}", 0, $error);
        }
        $data = is_array($event) && is_array($event['data'] ?? null) ? $event['data'] : [];
        if (($event['type'] ?? null) !== 'dev.errands.call.requested.v1' || !is_string($data['name'] ?? null)) {
            throw new InvalidCallback('a call with a name is expected');
        }
        return new self(
            key: $key,
            name: $data['name'],
            data: $data['data'] ?? null,
            undoes: is_string($data['undo'] ?? null) ? $data['undo'] : null,
            result: $data['result'] ?? null,
            flow: is_string($event['flowid'] ?? null) ? $event['flowid'] : '',
            number: is_numeric($event['step'] ?? null) ? (int) $event['step'] : 0,
            subject: is_string($event['subject'] ?? null) ? $event['subject'] : null,
        );
    }
}
