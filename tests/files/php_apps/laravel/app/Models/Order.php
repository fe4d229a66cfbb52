<?php

declare(strict_types=1);

namespace App\Models;

use Errands\Callback;
use Illuminate\Database\Eloquent\Model;

final class Order extends Model
{
    public $timestamps = false;
    protected $guarded = [];

    /** Move forward only. */
    public function apply(Callback $callback): void
    {
        if ($this->outcome !== Callback::COMPLETED) {
            $this->update(['outcome' => $callback->outcome]);
        }
    }
}
