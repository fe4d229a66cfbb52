<?php

declare(strict_types=1);

namespace Errands\Data;

/** Who is invited; `completed` and `in-process` are for to-dos only. */
final class Attendee extends Fields
{
    /**
     * @param string $email an e-mail address
     * @param string|null $sentBy an e-mail address
     * @param 'chair'|'none'|'optional'|'required'|null $role default: required
     * @param 'accepted'|'completed'|'declined'|'delegated'|'in-process'|'needs-action'|'tentative'|null $status
     *     default: needs-action
     * @param bool|null $rsvp default: true
     * @param 'group'|'individual'|'resource'|'room'|'unknown'|null $type default: individual
     * @param list<string>|null $delegatedTo
     * @param list<string>|null $delegatedFrom
     * @param list<string>|null $memberOf
     */
    public function __construct(
        string $email,
        ?string $name = null,
        ?string $sentBy = null,
        ?string $role = null,
        ?string $status = null,
        ?bool $rsvp = null,
        ?string $type = null,
        ?array $delegatedTo = null,
        ?array $delegatedFrom = null,
        ?array $memberOf = null,
    ) {
        parent::__construct([
            'email' => $email,
            'name' => $name,
            'sent_by' => $sentBy,
            'role' => $role,
            'status' => $status,
            'rsvp' => $rsvp,
            'type' => $type,
            'delegated_to' => $delegatedTo,
            'delegated_from' => $delegatedFrom,
            'member_of' => $memberOf,
        ]);
    }
}
