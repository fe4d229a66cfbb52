<?php

declare(strict_types=1);

namespace Errands\Data;

/** Who organizes; `sent_by` acts for them. */
final class Person extends Fields
{
    /**
     * @param string $email an e-mail address
     * @param string|null $sentBy an e-mail address
     */
    public function __construct(
        string $email,
        ?string $name = null,
        ?string $sentBy = null,
    ) {
        parent::__construct([
            'email' => $email,
            'name' => $name,
            'sent_by' => $sentBy,
        ]);
    }
}
