<?php

declare(strict_types=1);

namespace Errands\Data;

/**
 * AES-256. `password` opens the PDF; without `owner_password` the rights are bound to nothing but goodwill.
 *
 * An encrypted PDF holds random numbers, so its bytes differ from run to run.
 */
final class ReportEncryption extends Fields
{
    /**
     * @param list<'annotate'|'assemble'|'copy'|'fill-forms'|'modify'|'print'>|null $allow default: ["print", "copy"]
     */
    public function __construct(
        string $password,
        ?string $ownerPassword = null,
        ?array $allow = null,
    ) {
        parent::__construct([
            'password' => $password,
            'owner_password' => $ownerPassword,
            'allow' => $allow,
        ]);
    }
}
