<?php

declare(strict_types=1);

namespace Errands\Data;

/** An address with the name of whom it belongs to. */
final class Mailbox extends Fields
{
    /** @param string $email an e-mail address */
    public function __construct(
        string $email,
        ?string $name = null,
    ) {
        parent::__construct([
            'email' => $email,
            'name' => $name,
        ]);
    }
}
