<?php

declare(strict_types=1);

namespace Errands\Jobs;

use Errands\Data\FetchPages;
use Errands\Job;

/** The file behind the URL, or all its `pages`, kept under `name`. */
final class FetchJob extends Job
{
    public const TYPE = 'dev.errands.fetch.requested.v1';

    public function url(string $url): static
    {
        return $this->put('url', $url);
    }

    /** @param string $name a file's name in any language, no path */
    public function name(string $name): static
    {
        return $this->put('name', $name);
    }

    public function pages(FetchPages $pages): static
    {
        return $this->put('pages', $pages);
    }
}
