<?php

declare(strict_types=1);

namespace Errands\Data;

/**
 * How pages of JSON follow each other; all their items become one file of JSON Lines.
 *
 * `items` is the field with a page's list, absent where the page is the list. `next` is the field with what is next:
 * a URL of the same origin, or with `parameter` the value that this one of the query gets. With `parameter` alone that
 * counts from `start`, to the first page without items.
 */
final class FetchPages extends Fields
{
    /**
     * @param string|null $items such as data
     * @param string|null $next such as data
     * @param string|null $parameter such as page
     * @param int|null $start default: 1
     * @param int|null $limit pages; more fail the job; default: 1000
     */
    public function __construct(
        ?string $items = null,
        ?string $next = null,
        ?string $parameter = null,
        ?int $start = null,
        ?int $limit = null,
    ) {
        parent::__construct([
            'items' => $items,
            'next' => $next,
            'parameter' => $parameter,
            'start' => $start,
            'limit' => $limit,
        ]);
    }
}
